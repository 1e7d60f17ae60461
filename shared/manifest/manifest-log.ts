// The `[log]` table of a manifest: for each of Docker's log drivers the options that there are, each with its bounds. What is not
// in the list is refused, since dockerd carries options out as root: it reads keys and dials sockets that they name, and writes
// variables into logs. Only manifest-parts.ts uses it; where a syslog may go to is for the host's policy.

import * as z from "zod";

import { parseSize } from "../text/size.ts";

/** What is wrong with a value, as what to write instead; undefined where nothing is. */
type OptionCheck = (value: string) => string | undefined;

const LEAST_FILE_BYTES = 16 * 2 ** 10;
const MOST_FILE_BYTES = 2 ** 30;
const MOST_FILES = 100;
/** What one service may keep of its output on this host. */
const MOST_TOTAL_BYTES = 10 * 2 ** 30;
const MOST_BUFFER_BYTES = 64 * 2 ** 20;
/** What Docker keeps where a manifest does not say (agent/docker/mapping.ts writes it out). */
export const DEFAULT_ROTATION = { "max-size": "10m", "max-file": "3" } as const;

/** Docker's sizes: `10m`, `10mb`, `10MiB`, bytes without a unit; all binary (github.com/docker/go-units, RAMInBytes). */
function parseDockerSize(text: string): number | undefined {
  const match = /^(\d{1,13})(?:([kmgt])(?:i?b)?|b)?$/i.exec(text);
  return match === null
    ? undefined
    : parseSize(`${Number(match[1])}${(match[2] ?? "").toUpperCase()}${match[2] === undefined ? "" : "i"}B`);
}

function checkSize(least: number, most: number, hint: string): OptionCheck {
  return (value) => {
    const bytes = parseDockerSize(value);
    return bytes !== undefined && bytes >= least && bytes <= most ? undefined : hint;
  };
}

function checkChoice(...choices: readonly string[]): OptionCheck {
  return (value) => (choices.includes(value) ? undefined : `write ${choices.join(" or ")}`);
}

/** A template sees the container's variables: only names and ids may stand in it. */
const checkTag: OptionCheck = (value) =>
  /^(?:[\w./:@ -]|\{\{ ?\.(?:ID|FullID|Name|ImageID|ImageFullID|ImageName|DaemonName) ?\}\})+$/.test(value) &&
  value.length <= 256
    ? undefined
    : "write letters, digits, ./:@_- and {{.Name}}, {{.ID}}, {{.FullID}}, {{.ImageName}}, {{.ImageID}}, {{.ImageFullID}}, {{.DaemonName}}";

const checkLabels: OptionCheck = (value) =>
  /^[A-Za-z0-9_.-]+(?:,[A-Za-z0-9_.-]+)*$/.test(value) && value.length <= 1_024
    ? undefined
    : "write labels' names with commas between them";

const checkFiles: OptionCheck = (value) =>
  /^[1-9]\d{0,2}$/.test(value) && Number(value) <= MOST_FILES ? undefined : `write "1" to "${MOST_FILES}"`;

/** `udp://…`, `tcp://…` and `tcp+tls://…` with a port, `unix:///…`; whether it may go there is for the host's policy. */
const checkAddress: OptionCheck = (value) =>
  /^(?:(?:udp|tcp|tcp\+tls):\/\/(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}|unix(?:gram)?:\/\/\/[\w./-]+)$/.test(
    value,
  ) && value.length <= 512
    ? undefined
    : 'write "udp://10.0.0.5:514", "tcp://…:…", "tcp+tls://…:…" or "unix:///dev/log"';

const FACILITIES = [
  "kern",
  "user",
  "mail",
  "daemon",
  "auth",
  "syslog",
  "lpr",
  "news",
  "uucp",
  "cron",
  "authpriv",
  "ftp",
  ...Array.from({ length: 8 }, (_, index) => `local${index}`),
];

const COMMON: Readonly<Record<string, OptionCheck>> = {
  mode: checkChoice("blocking", "non-blocking"),
  "max-buffer-size": checkSize(1, MOST_BUFFER_BYTES, 'write at most "64m"'),
};
const ROTATED: Readonly<Record<string, OptionCheck>> = {
  ...COMMON,
  "max-size": checkSize(LEAST_FILE_BYTES, MOST_FILE_BYTES, 'write "16k" to "1g"'),
  "max-file": checkFiles,
  compress: checkChoice("true", "false"),
};
const TAGGED: Readonly<Record<string, OptionCheck>> = { ...COMMON, tag: checkTag, labels: checkLabels };

/** Driver → its options. */
const OPTIONS: Readonly<
  Record<"local" | "json-file" | "journald" | "syslog" | "none", Readonly<Record<string, OptionCheck>>>
> = {
  local: ROTATED,
  "json-file": { ...ROTATED, tag: checkTag, labels: checkLabels },
  journald: TAGGED,
  syslog: {
    ...TAGGED,
    "syslog-address": checkAddress,
    "syslog-facility": checkChoice(...FACILITIES),
    "syslog-format": checkChoice("rfc3164", "rfc5424", "rfc5424micro"),
  },
  none: {},
};

/** Why options that write variables into the log are not there. */
const VARIABLES = /^env(-regex)?$/;

interface Log {
  driver: keyof typeof OPTIONS;
  options: Readonly<Record<string, string>>;
}

function checkOptions({ driver, options }: Log, ctx: z.core.$RefinementCtx): void {
  const known = OPTIONS[driver];
  for (const [key, value] of Object.entries(options)) {
    const check = Object.hasOwn(known, key) ? known[key] : undefined;
    const hint = check === undefined ? describeKnown(driver, key) : check(value);
    if (hint === undefined) continue;
    const message =
      check === undefined ? `the log driver ${driver} takes no such option here` : "this value is not taken";
    ctx.addIssue({ code: "custom", path: ["options", key], message, params: { rule: "log-option", hint } });
  }
  const { "max-size": size, "max-file": files } = { ...DEFAULT_ROTATION, ...options };
  const totalBytes = (parseDockerSize(size) ?? 0) * Number(files);
  const isRead = checkFiles(files) === undefined && ROTATED["max-size"]?.(size) === undefined;
  if (isRead && (driver === "local" || driver === "json-file") && totalBytes > MOST_TOTAL_BYTES) {
    const hint = "max-size times max-file comes to at most 10 GiB";
    ctx.addIssue({
      code: "custom",
      path: ["options"],
      message: "so much is kept of no log",
      params: { rule: "log-option", hint },
    });
  }
}

function describeKnown(driver: Log["driver"], key: string): string {
  const known = Object.keys(OPTIONS[driver]);
  const list = known.length === 0 ? "leave it out: it has none" : `there are ${known.join(", ")}`;
  return VARIABLES.test(key) ? `variables are not written to logs; ${list}` : list;
}

export const log = z
  .strictObject({
    driver: z
      .enum(["local", "json-file", "journald", "syslog", "none"])
      .default("local")
      .describe("Docker's log driver; local and json-file are capped, syslog goes where the host's policy allows."),
    options: z
      .record(z.string(), z.string())
      .default({})
      .describe(
        "The driver's options, as Docker names them; a closed list for each, without what could write a secret.",
      ),
  })
  .superRefine(checkOptions);
