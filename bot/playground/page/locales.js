/*
 * Names and descriptions of commands in the reader's language.
 *
 * Promise: without a translation the bot's own words; nothing is ever sent in a translation.
 */

/** The languages that the page offers, by Discord's codes. */
export const LANGUAGES = { "en-US": "English", ja: "日本語" };

/** A command or an option with `label` and `words`, its name and description as they are shown. */
export function translated(item, locale) {
  const inner = (list) => list?.map((each) => translated(each, locale));
  return {
    ...item,
    label: item.name_localizations?.[locale] ?? item.name,
    words: item.description_localizations?.[locale] ?? item.description ?? "",
    ...(item.options ? { options: inner(item.options) } : {}),
    ...(item.choices ? { choices: inner(item.choices) } : {}),
  };
}
