// The file that says that a version of the agent is on trial. Its format never changes: the judge that reads it is of the old version, and
// after a power cut it is all that is known. Lines of a word and a value, the last one `end`. Pure.

/** A trial. */
export interface Trial {
  /** The version that was in use, and is again when the new one fails. */
  from: string;
  to: string;
  /** Of the package of `to`. */
  sha256: string;
  /** `back`: it has failed, and the old one is being put back. */
  phase: "trial" | "back";
  /** The peers that heard the old one when it ended. */
  heard: readonly string[];
  /** The boot in which the judge looked last. */
  boot: string;
  /** The host's uptime when this trial began, or when the judge began in this boot. */
  sinceMs: number;
  /** True once the judge was told to end, as at a reboot that somebody wants. */
  clean: boolean;
  /** How often the host went down without that. */
  unclean: number;
  /** Of phase `back`. */
  reason: string;
}

const HEAD = "orca-trial 1";
const NONE = "-";
const NAME = /^[A-Za-z0-9][A-Za-z0-9.+~-]{0,99}$/;

/** True for what may be the name of a version's directory. */
export function isVersionName(text: string): boolean {
  return NAME.test(text);
}

/** Prints it. */
export function printTrial(trial: Trial): string {
  const lines = [
    HEAD,
    `from ${trial.from}`,
    `to ${trial.to}`,
    `sha256 ${trial.sha256}`,
    `phase ${trial.phase}`,
    `heard ${trial.heard.join(" ") || NONE}`,
    `boot ${trial.boot || NONE}`,
    `since ${Math.round(trial.sinceMs)}`,
    `clean ${trial.clean ? "yes" : "no"}`,
    `unclean ${trial.unclean}`,
    `reason ${trial.reason.replaceAll(/\s+/g, " ").trim().slice(0, 300) || NONE}`,
    "end",
  ];
  return `${lines.join("\n")}\n`;
}

/** Reads it; undefined for what is no whole trial. Words that a later version has added are passed over. */
export function parseTrial(text: string): Trial | undefined {
  const lines = text.split("\n");
  if (lines[0] !== HEAD || !lines.includes("end")) return undefined;
  const values = new Map(
    lines.flatMap((line) => {
      const at = line.indexOf(" ");
      return at === -1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
    }),
  );
  const [from = "", to = "", sha256 = ""] = ["from", "to", "sha256"].map((key) => values.get(key) ?? "");
  const phase = values.get("phase");
  if (!isVersionName(from) || !isVersionName(to) || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
  if (phase !== "trial" && phase !== "back") return undefined;
  const plain = (key: string): string => {
    const value = values.get(key) ?? NONE;
    return value === NONE ? "" : value;
  };
  const count = (key: string): number => {
    const value = Number(values.get(key));
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  return {
    from,
    to,
    sha256,
    phase,
    heard: plain("heard")
      .split(" ")
      .filter((name) => name !== ""),
    boot: plain("boot"),
    sinceMs: count("since"),
    clean: values.get("clean") === "yes",
    unclean: count("unclean"),
    reason: plain("reason"),
  };
}
