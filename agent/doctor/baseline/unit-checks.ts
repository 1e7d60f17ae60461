// The agent itself as systemd runs it, its directories, and what it is there for: recovery points, recipients, ages of secrets.

import { describeDuration } from "../../../shared/text/duration.ts";
import { type Finding, fine, judge } from "../finding.ts";
import type { BaselineFacts, UnitFact } from "./baseline-facts.ts";

/** A secret that nobody has changed for so long is listed. */
const OLD_SECRET_MS = 90 * 86_400_000;
/** Above this `systemd-analyze security` is weaker than the unit that Orca ships. */
const MOST_EXPOSED = 2.5;
/** Of a list so many are named. */
const MOST_NAMED = 10;

/** Judges the agent and its data. */
export function checkAgentUnit(host: BaselineFacts, nowMs: number): Finding[] {
  return [...checkUnit(host.unit), checkDirectories(host), ...checkBackups(host), checkSecretAges(host, nowMs)];
}

/** What the shipped unit says, by the words of `systemctl show`. */
const EXPECTED: readonly { key: string; good: (value: string) => boolean; write: string }[] = [
  { key: "Type", good: (value) => value === "notify", write: "Type=notify" },
  { key: "WatchdogUSec", good: (value) => !["", "0", "infinity"].includes(value), write: "WatchdogSec=60" },
  { key: "Restart", good: (value) => value === "always", write: "Restart=always" },
  { key: "StartLimitIntervalUSec", good: (value) => value === "0", write: "StartLimitIntervalSec=0" },
  { key: "MemoryMax", good: (value) => /^\d+$/.test(value), write: "MemoryMax=448M" },
  { key: "OOMScoreAdjust", good: (value) => Number(value) < 0, write: "OOMScoreAdjust=-500" },
  { key: "LimitCORE", good: (value) => value === "0", write: "LimitCORE=0" },
  { key: "KillMode", good: (value) => value === "mixed", write: "KillMode=mixed" },
];

function checkUnit({ properties, exposure, deadMan }: UnitFact): Finding[] {
  const check = "unit of the agent";
  if (properties.kind === "absent")
    return [fine(check, "orca-agent is no unit of systemd here: whoever started it looks after it")];
  if (properties.kind === "unseen")
    return [
      {
        check,
        severity: "warn",
        what: `it cannot be looked at: ${properties.trouble}`,
        why: "whether it comes back by itself is not known",
        fix: "systemctl show orca-agent",
        unseen: true,
      },
    ];
  // What this systemd does not know is not held against it.
  const bad = EXPECTED.filter(({ key, good }) => properties.value[key] !== undefined && !good(properties.value[key]));
  return [
    judge(check, bad.length > 0, {
      severity: "fail",
      what: `orca-agent.service: ${bad.map(({ key }) => `${key} is ${properties.value[key] || "empty"}`).join(", ")}`,
      why: "an agent that hangs, ends or grows would not come back by itself, or be the first to go",
      fix: `systemctl revert orca-agent takes drop-ins away, and orca unit --write puts the one for its directories back; or write back into it: ${bad.map(({ write }) => write).join(", ")}`,
      good: "it is watched, comes back, and is held within its memory",
    }),
    judge("exposure of the agent", exposure.kind === "said" && exposure.value > MOST_EXPOSED, {
      severity: "warn",
      what: `systemd-analyze security says ${exposure.kind === "said" ? exposure.value : ""}, where ${MOST_EXPOSED} is what Orca ships`,
      why: "a drop-in gives the agent more of the host than it needs",
      fix: "systemd-analyze security orca-agent; systemctl revert orca-agent, and orca unit --write where backups lie elsewhere",
      good: exposure.kind === "said" ? `${exposure.value} of 10` : "systemd-analyze does not say it here",
    }),
    judge("dead man", deadMan.kind === "said" && !deadMan.value, {
      severity: "warn",
      what: "orca-dead-man.timer does not run",
      why: "an agent that is gone alerts nobody: only this timer notices",
      fix: "systemctl enable --now orca-dead-man.timer",
      good: "somebody looks at the agent every hour",
    }),
  ];
}

function checkDirectories({ directories }: BaselineFacts): Finding {
  const wide = directories.filter(({ mode, uid, most }) => uid !== 0 || (mode & ~most & 0o777) !== 0);
  const show = (mode: number): string => (mode & 0o777).toString(8).padStart(4, "0");
  return judge("directories of Orca", wide.length > 0, {
    severity: "fail",
    what: wide.map(({ path, mode, uid }) => `${path} has mode ${show(mode)} and belongs to uid ${uid}`).join(", "),
    why: "identities, sealed secrets, backups and configuration lie there",
    fix: wide.map(({ path, most }) => `chown root:root ${path}; chmod ${show(most)} ${path}`).join("; "),
    good: "they are root's alone",
  });
}

function checkBackups({ brokenPoints, repositories }: BaselineFacts): Finding[] {
  const few = repositories.filter(({ recipients }) => recipients < 2).map(({ name }) => name);
  const broken = brokenPoints ?? [];
  return [
    judge("recovery points", broken.length > 0, {
      severity: "fail",
      what: broken.join("; "),
      why: "what a service promises of its data does not hold: that much would be lost now",
      fix: "orca slo; orca backup run SERVICE says what keeps it from being made",
      good: brokenPoints === undefined ? "the agent does not say" : "every one that is promised is held",
    }),
    judge("recipients of backups", few.length > 0, {
      severity: "warn",
      what: `${few.join(", ")}: fewer than two keys open what lies there`,
      why: "whoever loses that one key has lost every backup",
      fix: "in fleet.toml write a second recipient, whose key lies offline: age-keygen makes one",
      good: "two keys or more open each repository that is in use",
    }),
  ];
}

/** They are listed, not held against anybody: how long a secret may live is the owner's word. */
function checkSecretAges({ secretAges }: BaselineFacts, nowMs: number): Finding {
  const old = secretAges
    .filter(({ sinceMs }) => nowMs - sinceMs > OLD_SECRET_MS)
    .toSorted((left, right) => left.sinceMs - right.sinceMs);
  const more = old.length > MOST_NAMED ? `, and ${old.length - MOST_NAMED} more` : "";
  const named = old.slice(0, MOST_NAMED).map(({ path, sinceMs }) => `${path} (${describeDuration(nowMs - sinceMs)})`);
  return judge("age of secrets", old.length > 0, {
    severity: "info",
    what: `not changed for more than 90 days, as far as this host knows: ${named.join(", ")}${more}`,
    why: "whoever has seen such a value once still has it",
    fix: "write a new value at the provider: what takes it follows by itself",
    good: "each was changed within the last 90 days, or this host has not known it for so long",
  });
}
