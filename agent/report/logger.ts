// The agent's log: pino's JSON lines on stdout, for a journal. What is logged is for log-events.ts to say.

import { type DestinationStream, type Logger, pino } from "pino";

/** Makes a logger that writes JSON lines to stdout, or to a test's own destination. */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    // The journal knows the process and the host.
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
