// `orca help`: the commands and topics, one topic page, or one command's options. A page is read when it is asked for.

import { styleText } from "node:util";

import type { Command } from "commander";

import { readPage } from "../../help/read-page.ts";
import { renderPage } from "../../help/render-page.ts";
import { HELP_TOPICS, isHelpTopic } from "../../../shared/text/help-topic.ts";
import { suggestWord } from "../../../shared/text/problem.ts";
import { CommandError, EXIT } from "./exit-codes.ts";
import { describeOutput, endQuietlyOnClosedOutput, printPainted } from "./terminal.ts";

/** Prints what the words name. A word that is a page and a command (`secrets`) prints the page, and the command's options after it. */
export async function showHelp(program: Command, words: readonly string[]): Promise<number> {
  endQuietlyOnClosedOutput();
  const [topic = ""] = words;
  if (words.length === 0) {
    program.outputHelp();
    return EXIT.ok;
  }
  const command = findCommand(program, words);
  const isTopic = words.length === 1 && isHelpTopic(topic);
  if (isTopic) printPainted(await printPage(topic));
  if (isTopic && command !== undefined) printPainted("\n");
  command?.outputHelp();
  if (!isTopic && command === undefined) throw new CommandError(describeUnknown(program, words));
  return EXIT.ok;
}

async function printPage(topic: keyof typeof HELP_TOPICS): Promise<string> {
  const { width, paint } = describeOutput();
  return renderPage(await readPage(topic), { width, paint: paint && paintPage });
}

function paintPage(text: string, style: "bold" | "cyan"): string {
  return styleText(style, text, { validateStream: false });
}

function findCommand(program: Command, words: readonly string[]): Command | undefined {
  let found: Command | undefined = program;
  for (const word of words)
    found = found === undefined ? undefined : listVisible(found).find((one) => one.name() === word);
  return found;
}

function listVisible(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}

function describeUnknown(program: Command, words: readonly string[]): string {
  const known = [...Object.keys(HELP_TOPICS), ...listVisible(program).map((one) => one.name())];
  const near = suggestWord(words[0] ?? "", known);
  const hint = near === undefined ? "orca help lists them" : `did you mean orca help ${near}?`;
  return `there is no topic or command ${JSON.stringify(words.join(" ").slice(0, 63))}; ${hint}`;
}
