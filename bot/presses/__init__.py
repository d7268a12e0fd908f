"""What the buttons of jobs do, one module a family; `bot.buttons` says which button is whose."""
