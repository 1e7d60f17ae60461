// What a stand-in's manifest says of backups, as it counts where its image is played by another.

import { expect, test } from "vitest";

import { adaptToStandIn } from "../../../agent/desired/build/choose.ts";
import type { DesiredSettings } from "../../../agent/desired/build/desired-settings.ts";
import { manifestSchema } from "../../../shared/manifest/manifest.ts";

const MANIFEST = manifestSchema.parse({
  image: "postgres:16",
  resources: { memory: "1GiB" },
  health: { tcp: { port: 5432 } },
  backups: [
    {
      name: "db",
      engine: "postgres",
      schedule: "every 5h",
      repositories: ["s3-geo", "local"],
      min_success: 2,
      before_update: true,
      retention: { days: 3 },
      verify: { schedule: "0 3 * * *", image: "postgres:16", schemas: ["app"], queries: ["select true"] },
    },
  ],
});

function adapt(standIns: DesiredSettings["standIns"]): unknown {
  const settings: Pick<DesiredSettings, "standIns"> = { standIns };
  return adaptToStandIn(MANIFEST, settings as DesiredSettings).backups[0];
}

test("it goes to this host alone, holds no change, and proves nothing of the real data; schedule and retention stay", () => {
  const [before] = MANIFEST.backups;
  expect(adapt({ "*": "orca-stand-in:1" })).toMatchObject({
    repositories: ["local"],
    min_success: 1,
    before_update: false,
    schedule: before?.schedule,
    retention: { days: 3 },
    verify: { schedule: "0 3 * * *", schemas: [], queries: [] },
  });
  expect(adapt({ "*": "orca-stand-in:1" })).not.toHaveProperty("verify.image");
});

test("without stand-ins nothing is changed", () => {
  expect(adapt(undefined)).toBe(MANIFEST.backups[0]);
});
