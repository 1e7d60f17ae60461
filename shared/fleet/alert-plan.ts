// Where alerts go by fleet.toml, as a node acts on it: made by desired/, used by report/. Types and names.

/** Where one alert may go. */
type AlertTarget = { kind: "webhook"; secret: string } | { kind: "gitea" };

/** One channel: what is less grave than `min` does not go there. */
export type AlertChannelPlan = AlertTarget & { min: "info" | "warning" | "critical" };

/** The table `[alerts]` of fleet.toml. */
export interface AlertPlan {
  /** In this order: the first one that takes a message gets it. */
  channels: readonly AlertChannelPlan[];
  repeatMs: number;
  /** An address outside that is called at intervals. */
  heartbeat: { secret: string; everyMs: number } | undefined;
}
