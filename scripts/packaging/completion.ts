// Completion for bash, made from the program's own commands and options: one function, no program started. Held by
// test/docker/agent/package.test.ts, which lets bash run it.

import type { Command } from "commander";

/** Builds the file that bash-completion reads as /usr/share/bash-completion/completions/orca. */
export function buildCompletion(program: Command, topics: readonly string[]): string {
  const cases = listCases(program, "").map(
    ({ path, words }) => `    ${path === "" ? '""' : `"${path}"`}) words="${words.join(" ")}" ;;`,
  );
  return `# Completion of orca for bash, made from its commands.
_orca() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" path="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    case " ${listPaths(program).join(" ")} " in
      *" \${path:+$path/}$word "*) path="\${path:+$path/}$word" ;;
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  case "$path $previous" in
${listChoices(program, "").join("\n")}
    "help "*) words="$words ${topics.join(" ")}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  # Paths, where no word of orca's is meant.
  if [ "\${#COMPREPLY[@]}" -eq 0 ] && [[ "$current" != -* ]]; then compopt -o default 2>/dev/null; fi
}
complete -F _orca orca
`;
}

/** The commands that people see, one in another: "backup/list". */
function listPaths(command: Command, path = ""): string[] {
  return listVisible(command).flatMap((inner) => {
    const full = path === "" ? inner.name() : `${path}/${inner.name()}`;
    return [full, ...listPaths(inner, full)];
  });
}

function listCases(command: Command, path: string): { path: string; words: string[] }[] {
  const inner = listVisible(command);
  const words = [...inner.map((entry) => entry.name()), ...listOptions(command)];
  const below = inner.flatMap((entry) => listCases(entry, path === "" ? entry.name() : `${path}/${entry.name()}`));
  return [{ path, words }, ...below];
}

/** After an option with a closed set of values, those. */
function listChoices(command: Command, path: string): string[] {
  const own = command.options.flatMap(({ long, argChoices }) =>
    argChoices === undefined ? [] : [`    "${path} ${long ?? ""}") words="${argChoices.join(" ")}" ;;`],
  );
  const inner = listVisible(command).flatMap((entry) =>
    listChoices(entry, path === "" ? entry.name() : `${path}/${entry.name()}`),
  );
  return [...own, ...inner];
}

function listOptions(command: Command): string[] {
  const shown = command.createHelp().visibleOptions(command);
  return shown.flatMap(({ long, short }) => long ?? short ?? []);
}

function listVisible(command: Command): Command[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .filter((entry) => command.parent === null || entry.name() !== "help");
}
