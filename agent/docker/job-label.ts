// What tells the containers of backups and restores from those of services: labels of their own, and a name. Only what carries them is
// removed by one-shot.ts.

/** The job that it belongs to. */
export const JOB_LABEL = "orca.job";
/** The node whose agent made it. */
export const JOB_NODE_LABEL = "orca.job.node";
/** It lives on while other jobs come and go: what receives a store's log. */
export const RECEIVER_LABEL = "orca.job.receiver";
export const JOB_NAME_START = "orca-job-";

/** True for one that this node's agent has made. An image can bring labels of its own, and no name. */
export function isOwnJob(
  { name, labels }: { name: string; labels: Readonly<Record<string, string>> },
  node: string,
): boolean {
  return labels[JOB_NODE_LABEL] === node && labels[JOB_LABEL] !== undefined && name.startsWith(JOB_NAME_START);
}
