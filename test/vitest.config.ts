// The five test projects; see test/README.md. No retries anywhere: a flake is a bug. A limit ends what hangs and says nothing of
// speed: each leaves room for a machine that is several times slower, beside other work.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], root: ".", testTimeout: 120_000 } },
      {
        test: {
          name: "scenario",
          include: ["test/scenario/**/*.test.ts"],
          root: ".",
          testTimeout: 240_000,
          // Files wait for servers and processes more than they compute.
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "docker",
          globalSetup: "test/builders/lane-setup.ts",
          include: ["test/docker/**/*.test.ts"],
          root: ".",
          testTimeout: 600_000,
          hookTimeout: 600_000,
          // One engine, measured times: one file after the other.
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "fleet",
          globalSetup: "test/builders/lane-setup.ts",
          include: ["test/fleet/**/*.test.ts"],
          root: ".",
          testTimeout: 900_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "vm",
          include: ["test/vm/**/*.test.ts"],
          root: ".",
          testTimeout: 900_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
