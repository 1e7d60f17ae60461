// The topic pages by name, each with its one line. The pages themselves are agent/help/*.md. Whoever tells of trouble names the page that
// says what to do about it. Pure.

/** Every page, in the order in which a reader meets them; a page's first line says the same. */
export const HELP_TOPICS = {
  start: "a first node with two services, in ten minutes",
  install: "put Orca on a VM, upgrade it, take it off",
  "day-zero": "the first node, before there is a Git server",
  "cloud-init": "a fresh VM becomes a node, and what a host needs",
  update: "new versions of the agent, by fleet.toml",
  "day-two": "merge, roll back, rotate, restore, replace a node, grow",
  runbook: "the page for the bad hour, from symptom to command",
  commands: "every command, what it does, how it ends",
  manifest: "every key of a service's TOML file",
  config: "the host's own file, /etc/orca/agent.toml",
  policy: "what no commit can loosen, /etc/orca/policy.toml",
  fleet: "several VMs, fleet.toml, order across them, cold start",
  gossip: "how nodes of a realm hear of each other",
  backup: "dumps of databases, and how they come back",
  repositories: "where backups lie, and who can open them",
  wal: "a PostgreSQL back to any second",
  prune: "what Orca removes when nobody needs it, and what never",
  restore: "bring data back from a backup",
  recover: "a lost node's place is taken by its spare",
  drill: "try the bad hour before it comes, and how long it takes",
  bundle: "bring a node what it needs where there is no network",
  secrets: "where values come from, where they go, what is refused",
  git: "how commits are read, pushes heard, results told",
  trust: "whose signature a commit needs before it counts",
  holds: "why a change waits, and what lets it in",
  rollout: "how services start, change, fail and go",
  stage: "keep a stage apart from production",
  firewall: "what may come in to a VM",
  http: "what the agent answers on loopback and on its socket",
  doctor: "what it looks at on this host",
  measured: "how fast and how large, beside a peer",
} as const;

/** The name of a page. */
export type HelpTopic = keyof typeof HELP_TOPICS;

/** True for the name of a page. */
export function isHelpTopic(name: string): name is HelpTopic {
  return Object.hasOwn(HELP_TOPICS, name);
}

/** The command that prints a page, as messages name it. */
export function nameHelp(topic: HelpTopic): string {
  return `orca help ${topic}`;
}

/** The pages, one on a line, as `orca help` and `/help` list them. */
export function listHelpTopics(): string[] {
  const names = Object.keys(HELP_TOPICS) as HelpTopic[];
  return names.map((name) => `  ${name.padEnd(14)}${HELP_TOPICS[name]}`);
}
