// `orca doctor`: looks at this host and says what is weaker than it should be, each with what to do about it. Reads only. The facts
// come from host/ and docker/, the judgement from doctor/; here they are put together and printed. The agent runs the same once a week.

import { examine } from "../../doctor/checks.ts";
import { type Finding, isWeak, type Severity } from "../../doctor/finding.ts";
import { serveParent } from "../../host/os/child-request.ts";
import { mayExist, readHostFile } from "../../host/files/host-files.ts";
import { agentConfigSchema } from "../../../shared/config/agent-config.ts";
import { nameHelp } from "../../../shared/text/help-topic.ts";
import { EXIT } from "../frame/exit-codes.ts";
import { printDocument, printText } from "../frame/terminal.ts";
import { cutControlCharacters } from "../../report/text/public-text.ts";
import { readMessage } from "../../../shared/text/read-message.ts";
import { readHost } from "./host-view.ts";

/** The options of `orca doctor`. */
export interface DoctorOptions {
  config: string;
  json?: boolean;
}

/** Examines this host; answers 0 where nothing is wrong, 3 where something is. */
export async function doctor({ config: path, json = false }: DoctorOptions): Promise<number> {
  const config = await readHostFile(agentConfigSchema, path).catch((error: unknown) => {
    if (mayExist(path)) throw error;
    const hint =
      "on a host with an agent name its file: orca doctor --config FILE; for a first one: orca help install. " +
      "A trial with orca up has none, and is not examined";
    throw new Error(`${readMessage(error)}: ${hint}`, { cause: error });
  });
  const findings = examine(await readHost(config, path));
  if (json) printDocument({ version: 1, node: config.node, findings });
  else print(config.node, findings);
  return isWeak(findings) ? EXIT.notHealthy : EXIT.ok;
}

/** Runs the look that the agent asks for once a week, and ends the process: a request on stdin, findings on stdout. */
export function runDoctorLook(): Promise<never> {
  return serveParent(async ({ config: path }: { config: string }) => {
    const config = await readHostFile(agentConfigSchema, path);
    return { findings: examine(await readHost(config, path)) };
  });
}

const ORDER: readonly Severity[] = ["fail", "warn", "info"];

function print(node: string, findings: readonly Finding[]): void {
  for (const severity of ORDER) {
    for (const { id, check, what, why, fix, page, source } of findings.filter(
      (finding) => finding.severity === severity,
    ))
      printText(
        [
          `${severity.toUpperCase()} ${id ?? ""} ${check}: ${what}`,
          `  why: ${why}${source === undefined || source === "Orca" ? "" : ` [${source}]`}`,
          `  fix: ${fix}${page === undefined ? "" : ` (${nameHelp(page)})`}`,
        ]
          .map(cutControlCharacters)
          .join("\n"),
      );
  }
  const count = (severity: Severity): number => findings.filter((finding) => finding.severity === severity).length;
  printText(`${node}: ${count("fail")} failed, ${count("warn")} weak, ${count("info")} listed, ${count("fine")} fine`);
}
