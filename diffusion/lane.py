"""One device: its thread, its row machine, and the mail that other threads send it.

Promises: one thread owns the device; nobody else ever touches the machine. Whatever is asked of it
is a letter, read between two ticks.
"""

import threading
from collections.abc import Callable
from typing import Final, TypeAlias

import torch

from diffusion.errors import DiffusionError, EngineClosedError, EngineDeadError
from diffusion.job import Job
from diffusion.kernels.probe import usable_cpus
from diffusion.machine import Machine
from diffusion.step import Step

Reply: TypeAlias = Callable[[Step | BaseException], None]
Letter: TypeAlias = Callable[[], None]
# What an unread letter is reckoned to ask for.
_UNREAD: Final = 80
CLOSED: Final = "the engine was closed before this job ended"


class Lane:
    """A device's thread. `threads`: how many cores its operators use, None for all it may."""

    def __init__(self, machine: Machine, *, name: str, threads: int | None) -> None:
        self.machine = machine
        self._threads = threads
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # Everything below is shared with the thread and guarded by the condition.
        self._wake = threading.Condition()
        self._mail: list[Letter] = []
        self._closing = False
        self._fatal: BaseException | None = None
        # Only the thread's own.
        self._jobs: dict[Job, Reply] = {}

    @property
    def load(self) -> int:
        """Evaluations of single pictures that its jobs, and those in the mail, still want."""
        # Read from another thread: a number that is a tick old is good enough to choose by.
        return self.machine.load + _UNREAD * len(self._mail)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread after the tick under way, and wait for that; unfinished jobs hear
        EngineClosedError.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def post(self, letter: Letter) -> None:
        """Let the thread do something between two ticks. Raises EngineClosedError or
        EngineDeadError when it will not.
        """
        with self._wake:
            if self._fatal is not None:
                raise EngineDeadError(f"the engine has stopped: {self._fatal}")
            if self._closing:
                raise EngineClosedError(CLOSED)
            self._mail.append(letter)
            self._wake.notify()

    def enter(self, add: Callable[[], Job], reply: Reply) -> Job | None:
        """Add a job, in the thread; what it has to tell goes to `reply`, its errors too."""
        if self._closing:
            reply(EngineClosedError(CLOSED))
            return None
        try:
            job = add()
        except DiffusionError as error:
            reply(error)
            return None
        except BaseException as error:
            # The lane ends with it; this job is in no list yet, and must hear of it all the same.
            reply(_dead(error))
            raise
        self._jobs[job] = reply
        return job

    def leave(self, job: Job) -> None:
        """Drop a job, in the thread."""
        self._jobs.pop(job, None)
        self.machine.remove(job)

    def _run(self) -> None:
        """Own the device until the lane closes. The only code that runs in the thread."""
        # torch counts processors; a container may be allowed fewer, and then its threads would wait
        # for each other.
        torch.set_num_threads(self._threads or min(torch.get_num_threads(), usable_cpus()))
        try:
            while self._read():
                for job, answer in self.machine.tick():
                    self._tell(job, answer)
        except BaseException as error:
            # Whatever escapes the machine leaves the device in an unknown state: nobody may go on
            # with it.
            with self._wake:
                self._fatal = error
            self._refuse(_dead(error))
        else:
            self._refuse(EngineClosedError(CLOSED))

    def _read(self) -> bool:
        """Read the mail; wait for it while there is nothing to do. False when it is over."""
        with self._wake:
            while not (self._mail or self._closing or self.machine.busy):
                self._wake.wait()
            mail, self._mail = self._mail, []
            closing = self._closing
        while mail:
            try:
                mail.pop(0)()
            except BaseException:
                with self._wake:
                    # Those behind it are told, too.
                    self._mail = mail + self._mail
                raise
        return not closing

    def _tell(self, job: Job, answer: Step | DiffusionError) -> None:
        ended = isinstance(answer, BaseException) or answer.pictures is not None
        reply = self._jobs.pop(job, None) if ended else self._jobs.get(job)
        if reply is not None:
            reply(answer)

    def _refuse(self, error: DiffusionError) -> None:
        """Tell everybody who waits, and those whose letters were never read."""
        with self._wake:
            self._closing = True
            mail, self._mail = self._mail, []
        for reply in self._jobs.values():
            reply(error)
        self._jobs.clear()
        for letter in mail:
            letter()


def _dead(error: BaseException) -> EngineDeadError:
    dead = EngineDeadError(f"the engine has stopped: {error}")
    dead.__cause__ = error
    return dead
