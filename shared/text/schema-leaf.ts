// The leaves that all schemas share: durations, sizes, names, paths. Texts in, typed values out; each says what to
// write instead when it refuses. Nothing here knows which file it is used in.

import { isIP } from "node:net";

import * as z from "zod";

import { DURATION_PATTERN, formatDuration, parseDuration, suggestDuration } from "./duration.ts";
import { parseImageReference } from "../manifest/image-reference.ts";
import { isPlainWord } from "./plain-word.ts";
import { cutText, quoteText } from "./problem.ts";
import { normaliseAddress, parsePublishedPort } from "../manifest/published-port.ts";
import { parseSchedule } from "../manifest/schedule.ts";
import { parseSize, SIZE_PATTERN, suggestSize } from "./size.ts";
import { describeCount } from "./count.ts";

/** Adds a refusal with its hint; the hint reaches the user through `describeIssue`. */
export function refuseValue(ctx: z.core.$RefinementCtx, message: string, hint: string): void {
  ctx.addIssue({ code: "custom", message, params: { hint } });
}

/** A check that answers undefined when the value is fine, and else what is wrong and what to write instead. */
type Check<T> = (value: T) => readonly [message: string, hint: string] | undefined;

function checked<T>(schema: z.ZodType<T>, check: Check<T>): z.ZodType<T> {
  return schema.superRefine((value, ctx) => {
    const wrong = check(value);
    if (wrong !== undefined) refuseValue(ctx, wrong[0], wrong[1]);
  });
}

/** `500ms 10s 5m 6h 7d` → milliseconds. */
export const durationMs = z
  .string()
  .meta({ pattern: DURATION_PATTERN.source, examples: ["10s", "5m"] })
  .transform((text, ctx) => {
    const parsed = parseDuration(text);
    if (parsed === undefined) {
      refuseValue(ctx, `${quoteText(text)} is not a duration`, suggestDuration(text));
      return z.NEVER;
    }
    return parsed;
  });

/** A duration that is longer than nothing. */
export const positiveDurationMs = durationMs.superRefine((value, ctx) => {
  if (value === 0) refuseValue(ctx, "0 is too short", 'write a duration above zero, such as "10s"');
});

/**
 * A duration between two bounds, both included.
 * @param least such as "100ms"
 * @param most such as "1d"
 */
export function durationBetween(least: string, most: string): typeof positiveDurationMs {
  const [leastMs, mostMs] = [parseDuration(least) ?? 0, parseDuration(most) ?? 0];
  return durationMs.superRefine((value, ctx) => {
    if (value < leastMs) refuseValue(ctx, `${formatDuration(value)} is too short`, `write at least "${least}"`);
    if (value > mostMs) refuseValue(ctx, `${formatDuration(value)} is too long`, `write at most "${most}"`);
  });
}

/** `512MiB 2GiB 1GB` → bytes. */
export const sizeBytes = z
  .string()
  .meta({ pattern: SIZE_PATTERN.source, examples: ["512MiB", "2GiB"] })
  .transform((text, ctx) => {
    const parsed = parseSize(text);
    if (parsed === undefined) {
      refuseValue(ctx, `${quoteText(text)} is not a size`, suggestSize(text));
      return z.NEVER;
    }
    return parsed;
  });

const NAME_PATTERN = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * True for names of nodes, services and repositories: DNS labels, so that they work as host names and aliases. Names are
 * keys of plain tables everywhere, and `constructor` is the one label that every table has already: it is refused here,
 * once.
 */
export function isName(text: string): boolean {
  return NAME_PATTERN.test(text) && text !== "constructor";
}

/** A node, service or repository name. */
export const name = checked(z.string().meta({ pattern: NAME_PATTERN.source }), (text) =>
  isName(text)
    ? undefined
    : [`${quoteText(text)} is not a name`, "use up to 63 lower-case letters, digits and inner hyphens"],
);

/** As long as the kernel takes a path (PATH_MAX). */
const LONGEST_PATH = 4_096;

/** An absolute path without `.` and `..`. */
export const absolutePath = checked(z.string(), (text) => {
  if (!text.startsWith("/")) return [`${quoteText(text)} is not an absolute path`, 'begin it with "/"'];
  // eslint-disable-next-line no-control-regex -- these are what is refused
  if (/[\u0000-\u001f\u007f]/.test(text) || text.length > LONGEST_PATH)
    return [`${quoteText(text)} is no path`, "write it without control characters, in at most 4096 characters"];
  if (text.split("/").some((part) => part === "." || part === "..")) {
    return [`${quoteText(text)} has a "." or ".." in it`, "write the path out"];
  }
  return undefined;
});

/** A path inside a container: nothing of it lies in the kernel's own directory, where a process finds more than its own. */
export const innerPath = checked(absolutePath, (text) =>
  /^\/+proc(\/|$)/.test(text) ? [`${quoteText(text)} is the kernel's`, "write another directory"] : undefined,
);

/** A path inside the node's directory. */
export const relativePath = checked(z.string(), (text) => {
  if (text === "" || text.startsWith("/")) {
    return [
      `${quoteText(text)} is not a path inside the node's directory`,
      'write it relative, such as "files/app.conf"',
    ];
  }
  // eslint-disable-next-line no-control-regex -- these are what is refused
  if (/[\u0000-\u001f\u007f]/.test(text) || text.length > LONGEST_PATH || text.split("/").includes("..")) {
    return [`${quoteText(text)} leaves the node's directory`, "keep the file beside the manifest, under files/"];
  }
  return undefined;
});

/** The path of a URL, with its query: what an HTTP request line takes. */
export const urlPath = checked(z.string(), (text) => {
  if (!text.startsWith("/")) return [`${quoteText(text)} is not a path`, 'begin the path with "/"'];
  const isPlain = /^[!-~]{1,2048}$/.test(text);
  return isPlain ? undefined : [`${quoteText(text)} is not a path`, "write it without spaces, other signs as %20"];
});

/** The path of a route, which proxies have in their configuration. */
export const routePath = checked(z.string(), (text) => {
  if (isPlainWord("path", text)) return undefined;
  const hint = 'begin it with "/", and use letters, digits and . _ ~ @ : + / -';
  return [`${quoteText(text)} is not a path that proxies take`, hint];
});

/** A label's value. */
export const labelValue = checked(z.string(), (text) =>
  text.length > 16_384 || text.includes("\0")
    ? ["it is too long, or has a NUL byte in it", "write at most 16 KiB"]
    : undefined,
);

/** A secret's path, such as `/prod/keycloak/ADMIN_PASSWORD`; never a value. */
export const secretPath = checked(z.string(), (text) =>
  /^(?:\/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$/.test(text) && text.length <= 1_024
    ? undefined
    : ["this is not a secret's path", 'write the path, never the value: "/prod/keycloak/ADMIN_PASSWORD"'],
);

/** As much as the kernel takes as one argument or variable (MAX_ARG_STRLEN). */
const LONGEST_ARGUMENT = 131_071;

/**
 * A text of one line for people or for a program's configuration: no control characters, and not without end.
 * @param most characters
 */
export function lineOfText(most: number): z.ZodType<string> {
  return checked(z.string().min(1), (text) => {
    if (text.length > most) return [`it is ${describeCount(text.length, "character")} long`, `write at most ${most}`];
    // eslint-disable-next-line no-control-regex -- these are what is refused
    return /[\u0000-\u001f\u007f-\u009f]/.test(text)
      ? ["it has a control character in it", "write it in one line"]
      : undefined;
  });
}

/** An environment variable's name. */
export const envName = checked(z.string(), (text) =>
  /^[A-Za-z_][A-Za-z0-9_.]{0,254}$/.test(text)
    ? undefined
    : [`${quoteText(text)} is not a variable's name`, "use letters, digits and _, not a digit first"],
);

/** An environment variable's value; TOML numbers are refused because 1.0 and 010 would change on the way. */
export const envValue = checked(z.string(), (text) =>
  text.includes("\0")
    ? ["it has a NUL byte in it", "leave it out"]
    : text.length > LONGEST_ARGUMENT
      ? [`it is ${describeCount(text.length, "character")} long`, "the kernel takes at most 128 KiB: deliver a file"]
      : undefined,
);

/** An image reference in Docker's grammar. */
export const imageReference = checked(z.string(), (text) => {
  const parsed = parseImageReference(text);
  // A text that is a URL may hold a password: it is not shown.
  if (text.includes("://")) return ['an image is no URL: "://" does not belong', 'write "registry/name:tag"'];
  // Whatever its registry: the engine takes such a word for the id of an image that is here, by its first digits.
  if (/^(?:sha256:)?[0-9a-f]+$/.test(text))
    return [
      `${quoteText(text)} could be an image's id`,
      `write its name and tag, such as "${cutText(text.replace(/^sha256:/, ""))}:1"`,
    ];
  return typeof parsed === "string"
    ? [`${quoteText(text)} is not an image: ${parsed}`, 'write "registry/name:tag" or "registry/name:tag@sha256:…"']
    : undefined;
});

/** One published port, in Docker's form. */
export const publishedPort = z.string().transform((text, ctx) => {
  const parsed = parsePublishedPort(text);
  if (typeof parsed === "string") {
    refuseValue(ctx, `${quoteText(text)} is not a published port`, parsed);
    return z.NEVER;
  }
  return parsed;
});

/** A TCP or UDP port number. */
export const portNumber = z.int().min(1).max(65_535);

/** `every 5h` or a UTC cron; `@once` where `once` is true. */
export function schedule(once: boolean): z.ZodType<string> {
  return checked(z.string(), (text) => {
    const parsed = parseSchedule(text);
    if (typeof parsed === "string") {
      return [`${quoteText(text)} is not a schedule: ${parsed}`, 'write "every 5h" or a UTC cron such as "0 3 * * *"'];
    }
    return parsed.kind === "once" && !once ? ['"@once" is for jobs', 'write "every 5h" or a UTC cron'] : undefined;
  });
}

/** An IP address, in its one spelling. */
export const ipAddress = checked(z.string(), (text) =>
  isIP(text) === 0 || !isPlainWord("network", text)
    ? [`${quoteText(text)} is not an IP address`, 'write it as "10.0.0.10"']
    : undefined,
).transform(normaliseAddress);

/** An IP network, such as `10.0.0.0/16`; a bare address counts as a network of one. */
export const ipNetwork = checked(z.string(), (text) => {
  const [address = "", bits, ...rest] = text.split("/", 3);
  const family = isIP(address);
  const most = family === 4 ? 32 : 128;
  const inRange = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most);
  const valid = family !== 0 && inRange && rest.length === 0 && isPlainWord("network", text);
  return valid ? undefined : [`${quoteText(text)} is not an IP network`, 'write it as "10.0.0.0/16"'];
});

/** A signal by name (`SIGTERM`) or number, as Docker takes it. */
export const signal = checked(z.string(), (text) =>
  /^(SIG[A-Z0-9+-]{2,10}|[A-Z]{2,8}\d?|\d{1,2})$/.test(text)
    ? undefined
    : [`${quoteText(text)} is not a signal`, 'write it by name, such as "SIGTERM" or "SIGHUP"'],
);

/** A rate such as `60/s` or `1000/m`. */
export const rate = checked(z.string(), (text) =>
  isPlainWord("rate", text) ? undefined : [`${quoteText(text)} is not a rate`, 'write it as "60/s" or "1000/m"'],
);

/** A program and its arguments; never a shell line. */
export const argv = z.array(envValue).min(1).max(1_000);
