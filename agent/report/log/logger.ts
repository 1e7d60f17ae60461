// The agent's log on stdout: a line for people, or JSON where agent.toml asks for it; in the journal each with its priority. What is
// logged is for log-events.ts to say, how a line reads for log-line.ts.

import { type LogFn, type Logger, pino } from "pino";

import { describePriority, describeRecord, describeTimedRecord, type LogRecord } from "./log-line.ts";
import { cutControlCharacters } from "../text/public-text.ts";

/** How the log is written, and where to. */
export interface LogOutput {
  /** `text` for people, `json` for programs. */
  format: "text" | "json";
  /** The journal stands behind it: it takes priorities, and knows times by itself. */
  journal: boolean;
  /** Takes one line, with its end, in place of stdout. */
  write?(line: string): void;
}

/** Makes a logger; JSON where nothing else is said. */
export function createLogger(level: string, output: Partial<LogOutput>): Logger {
  const { format = "json", journal = false } = output;
  const options = {
    level,
    // The journal knows the process and the host.
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: object) => cleanValue(fields) as Record<string, unknown>,
    },
    hooks: {
      logMethod(this: Logger, parameters: Parameters<LogFn>, method: LogFn) {
        method.apply(
          this,
          parameters.map((part: unknown) =>
            typeof part === "string" ? cutControlCharacters(part) : part,
          ) as Parameters<LogFn>,
        );
      },
    },
  };
  // Pino's own stream to stdout: a reader that has gone away ends the log and not the agent.
  const write = output.write?.bind(output) ?? openStdout();
  return pino(options, { write: (json: string) => write(writeLine(json, format, journal)) });
}

function openStdout(): (line: string) => void {
  const stdout = pino.destination({ dest: 1, sync: true });
  return (line) => void stdout.write(line);
}

function writeLine(json: string, format: LogOutput["format"], journal: boolean): string {
  if (format === "json" && !journal) return json;
  const record = JSON.parse(json) as LogRecord;
  if (format === "json") return `${describePriority(record)}${json}`;
  return journal ? `${describePriority(record)}${describeRecord(record)}\n` : `${describeTimedRecord(record)}\n`;
}

/** A journal hides a line with a control character in it, and a terminal obeys it: no field has one, whoever it comes from. */
function cleanValue(value: unknown): unknown {
  if (typeof value === "string") return cutControlCharacters(value);
  if (Array.isArray(value)) return value.map(cleanValue);
  if (typeof value !== "object" || value === null || value instanceof Error) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [cutControlCharacters(key), cleanValue(entry)]),
  );
}
