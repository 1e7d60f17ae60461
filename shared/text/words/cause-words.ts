// The sentences of what a cause says: why a step is taken. Pure; describe-reason.ts alone uses them.

import type { CauseReason } from "../../state/reason.ts";
import { describeCaps } from "../describe-caps.ts";
import { describeEnd, describeMinute, type WordTable } from "./word-table.ts";

export const CAUSE_WORDS: WordTable<CauseReason> = {
  "first-start": ({ revision }) => `first start from ${revision}`,
  "new-spec": ({ revision }) => `new spec from ${revision}`,
  "goes-back": ({ revision }) => `it goes back to ${revision}`,
  "in-git-again": ({ revision }) => `it is in Git again with ${revision}`,
  "wanted-again": ({ revision }) => `it is wanted again with ${revision}`,
  "generation-chosen": ({ volumes }) => `it gets its data from ${volumes.join(", ")}`,
  asked: ({ what, uid }) => `uid ${uid} asked for ${what === "restart" ? "a" : "the"} ${what}`,
  "release-asked": ({ revision, uid }) => `uid ${uid} asked for ${revision} again`,
  "new-values": ({ paths }) => {
    const which = `${paths.join(", ")} ${paths.length === 1 ? "has" : "have"}`;
    return `${paths.length === 0 ? "a secret that it takes has" : which} a new value`;
  },
  "new-content": ({ targets }) => `new content in ${targets.join(", ")}`,
  ended: ({ end }) => describeEnd(end),
  unhealthy: ({ failures, said }, words) => `unhealthy after ${failures} failed probes: ${words.said(said)}`,
  "image-differs": ({ is, wanted }) => `its container was made from ${is}, not from ${wanted}`,
  "caps-differ": ({ is, wanted }) => `caps are ${describeCaps(is)} and should be ${describeCaps(wanted)}`,
  "new-caps": ({ is, wanted, revision }) =>
    `${revision} changes its caps from ${describeCaps(is)} to ${describeCaps(wanted)}`,
  "policy-differs": ({ policy }) => `its restart policy is ${policy} and should be no: the agent owns every start`,
  "engine-restarts-it": ({ policy }) =>
    `the engine itself restarts it (restart policy ${policy}), and the agent owns every start`,
  renamed: ({ name }) => `its container was renamed to ${name} by hand`,
  "off-network": ({ network }) => `it was taken off the network ${network}`,
  unstartable: ({ said }, words) => `its container cannot start again and is made anew: ${words.said(said)}`,
  "job-due": ({ dueMs }) => `its run of ${describeMinute(dueMs)} is due`,
  "traffic-moves": ({ to }) => (to === undefined ? "no container of it can take traffic" : `${to} gets the traffic`),
  "traffic-gone": ({ revision }) => `${revision} gets no traffic any more`,
  "ended-while-tried": ({ revision, tried }) => `${revision} ended while ${tried} is tried`,
  "paused-while-tried": ({ revision, tried }) => `${revision} was paused by hand while ${tried} is tried`,
  // These end the story of a release, and stand for themselves.
  "old-container-goes": ({ why, settled }, { of }) =>
    settled
      ? `${of(why)}: it has settled with that, and the agent removes the container before it`
      : `${of(why)}: the agent removes an older container that it would never go back to`,
  "engine-restarted": () => "the engine or the host restarted",
  "stopped-for-restart": () => "it was stopped to be started again",
  "copy-over": () => "its volumes were copied while it was stopped",
  "container-removed": () => "its container was removed",
  "container-dead": () => "the engine calls its container dead",
  "removal-stuck": () => "the removal of its container does not come to an end",
  "paused-by-hand": () => "its processes were paused by hand",
  "other-spec-beside": () => "a container with another spec runs beside it",
  "files-differ": () => "its delivered files are not what its process has",
  "not-in-git": () => "it is no longer in Git",
  "node-begins": () => "the node's network and hosts file are made",
  "node-drift": () => "the node's network or hosts file was not as declared",
};
