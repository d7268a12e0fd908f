/*
 * The synced commands as the composer needs them. Pure functions, no elements.
 *
 * Promise: a value that leaves here has the type and the bounds that its option declares.
 */

export const TYPE = {
  subcommand: 1,
  group: 2,
  string: 3,
  integer: 4,
  boolean: 5,
  user: 6,
  channel: 7,
  role: 8,
  mentionable: 9,
  number: 10,
  attachment: 11,
};

const CHAT_INPUT = 1;

/** One entry for each thing that can be typed: subcommands become entries of their own. */
export function entries(commands) {
  return commands
    .filter((command) => (command.type ?? CHAT_INPUT) === CHAT_INPUT)
    .flatMap((command) => expand(command, command.name, command.label, []));
}

/** `name` is what is sent, `label` what is read: the name in the reader's language. */
function expand(node, name, label, path) {
  const inner = (node.options ?? []).filter((option) => option.type <= TYPE.group);
  if (inner.length) {
    return inner.flatMap((option) => expand(option, `${name} ${option.name}`, `${label} ${option.label}`, [...path, option]));
  }
  const options = [...(node.options ?? [])].sort((a, b) => Number(b.required ?? false) - Number(a.required ?? false));
  return [{ name, label, description: node.words, options, path }];
}

/** Entries for what was typed after the slash: names that begin with it, then that contain it, then descriptions. */
export function search(all, text) {
  const words = text.trim().toLowerCase();
  const rank = (entry) => {
    const names = [entry.label.toLowerCase(), entry.name.toLowerCase()];
    if (names.some((name) => name.startsWith(words))) return 0;
    if (names.some((name) => name.includes(words))) return 1;
    return entry.description.toLowerCase().includes(words) ? 2 : 3;
  };
  return all.filter((entry) => rank(entry) < 3).sort((a, b) => rank(a) - rank(b));
}

/** "/imagine a red heart" is a whole command and the beginning of its first text option. */
export function typed(all, text) {
  const low = text.toLowerCase();
  const fits = all.flatMap((entry) => {
    const names = [entry.label, entry.name].filter((name) => low.startsWith(`/${name.toLowerCase()} `));
    return names.map((name) => ({ entry, rest: text.slice(name.length + 2) }));
  });
  return fits.sort((a, b) => a.rest.length - b.rest.length)[0] ?? null;
}

/** The entry whose whole name was typed, and that can be sent as it stands. */
export function complete(all, text) {
  const words = text.trim().toLowerCase();
  const found = all.find((entry) => [entry.label, entry.name].some((name) => `/${name.toLowerCase()}` === words));
  return found && !found.options.some((option) => option.required) ? found : null;
}

/** "a heart seed: 7" as values by option: words before the first name belong to the first option. */
export function named(entry, text) {
  const [first] = entry.options;
  const values = {};
  let option = first;
  let words = [];
  const keep = () => {
    const value = words.join(" ").trim();
    if (option && (value || option !== first)) values[option.name] = value;
  };
  for (const word of text.split(/\s+/)) {
    const next = word.endsWith(":") && optionCalled(entry.options, word.slice(0, -1));
    if (next && values[next.name] === undefined) {
      keep();
      option = next;
      words = [];
    } else {
      words.push(word);
    }
  }
  keep();
  return values;
}

/** The option of that name, in the bot's language or the reader's. */
export function optionCalled(options, name) {
  const low = name.toLowerCase();
  return options.find((option) => [option.name, option.label].some((each) => each.toLowerCase() === low));
}

/** The command's own name and its options in Discord's nesting. */
export function wire(entry, options) {
  const name = entry.name.split(" ")[0];
  const nested = entry.path.reduceRight((inner, part) => [{ name: part.name, type: part.type, options: inner }], options);
  return { name, options: nested };
}

/** Read what was typed for an option: `{value}`, `{}` when empty and optional, or `{error}`. */
export function read(option, text) {
  const words = text.trim();
  if (!words) return option.required ? { error: `${option.label} is needed.` } : {};
  if (option.type === TYPE.integer || option.type === TYPE.number) return readNumber(option, words);
  const length = [...words].length;
  const most = option.max_length ?? 6000;
  if (length < (option.min_length ?? 0)) return { error: `${option.label} needs at least ${option.min_length} characters.` };
  if (length > most) return { error: `${option.label} takes at most ${most} characters; these are ${length}.` };
  return { value: words };
}

function readNumber(option, words) {
  const whole = option.type === TYPE.integer;
  const pattern = whole ? /^[+-]?\d{1,16}$/ : /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
  const value = Number(words);
  if (!pattern.test(words) || (whole && !Number.isSafeInteger(value))) {
    return { error: `${option.label} takes ${whole ? "a whole number" : "a number"}, such as ${option.min_value ?? 1}.` };
  }
  if (value < (option.min_value ?? -Infinity)) return { error: `${option.label} is at least ${option.min_value}.` };
  if (value > (option.max_value ?? Infinity)) return { error: `${option.label} is at most ${option.max_value}.` };
  return { value };
}

/** The list an option may be chosen from, or null when it is typed freely. `guild` knows people and channels. */
export function fixedChoices(option, guild) {
  if (option.choices?.length) return option.choices.map(({ label, value }) => ({ label, value }));
  if (option.type === TYPE.boolean) return [{ label: "True", value: true }, { label: "False", value: false }];
  if (option.type === TYPE.user || option.type === TYPE.mentionable) return guild.people();
  if (option.type === TYPE.role) return guild.roles();
  return option.type === TYPE.channel ? guild.channels() : null;
}
