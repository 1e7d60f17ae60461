// What lets packets in: filters of the host and of published ports, for both versions of IP, cloud metadata, ssh.

import type { Policy } from "../../../shared/policy/policy.ts";
import { type Finding, fine, judge } from "../finding.ts";
import { isOpen } from "./container-checks.ts";
import type { BaselineFacts, FilterFact, Said } from "./baseline-facts.ts";

/** Judges filters and ssh. */
export function checkNetwork(host: BaselineFacts, policy: Policy | undefined): Finding[] {
  return [
    checkPublished(host, policy),
    checkHostFilter(host.filter),
    checkFilter6(host.filter),
    checkMetadata(host),
    ...checkSsh(host),
  ];
}

/** What could not be asked is no fault of the host: a person sees it, and nobody is alerted. */
function unseen(check: string, trouble: string, fix: string): Finding {
  const why = "whether it is as it should be is not known";
  return { check, severity: "warn", what: `it cannot be looked at: ${trouble}`, why, fix, unseen: true };
}

function checkPublished({ filter, containers }: BaselineFacts, policy: Policy | undefined): Finding {
  const check = "filter of published ports";
  const isPublic = containers.some(({ published }) => published.some((port) => isOpen(port, undefined)));
  if (!isPublic) return fine(check, "nothing is published on every address");
  const { published, hasHostTable } = filter;
  if (hasHostTable) return fine(check, "the firewall of orca firewall judges them");
  if (published.kind === "unseen") return unseen(check, published.trouble, "run orca doctor as root");
  const open = containers.flatMap((container) => container.published.filter((port) => isOpen(port, policy)));
  const rules = published.kind === "said" ? published.value : [];
  const drops = rules.some((rule) => /-j (DROP|REJECT)\b/.test(rule));
  return judge(check, !drops, {
    severity: open.length > 0 ? "fail" : "warn",
    what: "no rule of the chain DOCKER-USER drops anything",
    why: "ufw does not see published ports: Docker's own rules come first, so they are open to whoever reaches this host",
    fix: "orca firewall apply (orca help firewall); or iptables -I DOCKER-USER -i eth0 ! -s 10.0.0.0/8 -m conntrack --ctstate NEW -m conntrack --ctdir ORIGINAL -j DROP, with your interface and networks, kept over a boot",
    good: "DOCKER-USER drops what is not let in",
  });
}

function checkHostFilter({ denies4 }: FilterFact): Finding {
  const check = "filter of the host";
  if (denies4.kind === "unseen") return unseen(check, denies4.trouble, "run orca doctor as root");
  return judge(check, denies4.kind === "absent" || !denies4.value, {
    severity: "warn",
    what: "what no rule names is let in",
    why: "a service that somebody starts by hand is open to whoever reaches this host",
    fix: "orca firewall apply (orca help firewall); or ufw default deny incoming; ufw allow OpenSSH; ufw enable: from a second session, so that the first one stays",
    good: "what no rule names is dropped",
  });
}

function checkFilter6({ hasGlobal6, denies4, denies6 }: FilterFact): Finding {
  const check = "filter of IPv6";
  const good = "IPv6 is filtered as IPv4 is, or this host has no such address";
  if (!hasGlobal6 || !holds(denies4)) return fine(check, good);
  if (denies6.kind === "unseen") return unseen(check, denies6.trouble, "run orca doctor as root");
  return judge(check, !holds(denies6), {
    severity: "warn",
    what: "IPv4 is filtered, and IPv6 is not",
    why: "the same ports are open by the other address of this host",
    fix: "in /etc/default/ufw: IPV6=yes, then ufw reload; or the same rules in table inet of nftables",
    good,
  });
}

function holds(said: Said<boolean>): boolean {
  return said.kind === "said" && said.value;
}

function checkMetadata({ cloud, filter, containers }: BaselineFacts): Finding {
  const check = "cloud metadata";
  if (cloud === undefined || containers.length === 0)
    return fine(check, "this is no machine of a cloud, or nothing runs");
  const { namesMetadata } = filter;
  if (namesMetadata.kind === "unseen") return unseen(check, namesMetadata.trouble, "run orca doctor as root");
  return judge(check, !holds(namesMetadata), {
    severity: "warn",
    what: "containers may ask 169.254.169.254",
    why: "it answers with this machine's user data, and on some clouds with credentials",
    fix: "orca firewall apply (orca help firewall); or iptables -I DOCKER-USER -d 169.254.169.254 -j DROP, kept over a boot",
    good: "a rule names its address",
  });
}

/** What sshd_config(5) should say; the first value is what the fix writes. */
const SSH: Readonly<Record<string, readonly string[]>> = {
  passwordauthentication: ["no"],
  kbdinteractiveauthentication: ["no"],
  permitrootlogin: ["prohibit-password", "no", "without-password", "forced-commands-only"],
  x11forwarding: ["no"],
  permitemptypasswords: ["no"],
};
const SSH_WORDS: Readonly<Record<string, string>> = {
  passwordauthentication: "PasswordAuthentication",
  kbdinteractiveauthentication: "KbdInteractiveAuthentication",
  permitrootlogin: "PermitRootLogin",
  x11forwarding: "X11Forwarding",
  permitemptypasswords: "PermitEmptyPasswords",
  maxauthtries: "MaxAuthTries",
};
const MOST_TRIES = 4;

function checkSsh({ sshd, sshKeyFiles, fail2ban }: BaselineFacts): Finding[] {
  const check = "ssh";
  if (sshd.kind === "absent") return [fine(check, "no sshd is installed")];
  if (sshd.kind === "unseen")
    return [unseen(check, sshd.trouble, "run orca doctor as root; sshd -t says what is wrong")];
  const loose = listLooseSsh(sshd.value);
  const words = loose.map(({ key, value }) => `${SSH_WORDS[key] ?? key} ${value}`);
  const lines = loose.map(({ key, write }) => `${SSH_WORDS[key] ?? key} ${write}`);
  const noPasswords = sshd.value["passwordauthentication"] === "no";
  return [
    judge(check, loose.length > 0, {
      severity: "fail",
      what: `sshd is told: ${words.join(", ")}`,
      why: "passwords are guessed by whoever reaches the port, and root is the name that everybody tries",
      fix: `write into /etc/ssh/sshd_config.d/10-orca.conf, a line each: ${lines.join("; ")}; then sshd -t && systemctl reload ssh, with a second session open`,
      good: "it lets in by key alone, and forwards no display",
    }),
    judge("keys for ssh", sshKeyFiles.length === 0, {
      severity: noPasswords ? "fail" : "warn",
      what: "no key lets anybody in",
      why: noPasswords
        ? "passwords are switched off: after the last session ends, nobody comes in again"
        : "with passwords switched off, nobody would come in",
      fix: "ssh-copy-id USER@THIS-HOST from your own machine",
      good: `keys let somebody in: ${sshKeyFiles.join(", ")}`,
    }),
    judge("fail2ban", !fail2ban && !noPasswords, {
      severity: "warn",
      what: "nobody slows down who guesses passwords",
      why: "sshd takes passwords here",
      fix: "switch passwords off; or apt-get install fail2ban, with backend = systemd for the jail sshd",
      good: "it runs, or there is no password to guess",
    }),
  ];
}

function listLooseSsh(settings: Readonly<Record<string, string>>): { key: string; value: string; write: string }[] {
  const loose = Object.entries(SSH).flatMap(([key, allowed]) => {
    const value = settings[key];
    return value === undefined || allowed.includes(value) ? [] : [{ key, value, write: allowed[0] ?? "" }];
  });
  const tries = Number(settings["maxauthtries"] ?? MOST_TRIES);
  if (tries > MOST_TRIES) loose.push({ key: "maxauthtries", value: String(tries), write: String(MOST_TRIES) });
  return loose;
}
