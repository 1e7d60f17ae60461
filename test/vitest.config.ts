// The five test projects; see test/README.md. No retries anywhere: a flake is a bug. A limit ends what hangs and says nothing of
// speed: each leaves room for a machine that is several times slower, beside other work.

import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

/** Tests start the program a thousand times: Node keeps what it has compiled, and each start takes half the CPU. */
const env = { NODE_COMPILE_CACHE: fileURLToPath(new URL("../node_modules/.cache/orca-tests", import.meta.url)) };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          env,
          include: ["test/unit/**/*.test.ts"],
          root: ".",
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // A process for each file would load the same modules anew, which takes longer than the tests: a module holds no state of a test.
          isolate: false,
        },
      },
      {
        test: {
          name: "scenario",
          env,
          include: ["test/scenario/**/*.test.ts"],
          root: ".",
          testTimeout: 240_000,
          hookTimeout: 240_000,
          // Some files wait for servers and processes most of their time.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: "docker",
          env,
          globalSetup: "test/builders/engine/lane-setup.ts",
          include: ["test/docker/**/*.test.ts"],
          root: ".",
          testTimeout: 600_000,
          hookTimeout: 600_000,
          // One engine: each file has nodes, ports and networks of its own. Most of the time they wait for it.
          maxWorkers: 3,
        },
      },
      {
        test: {
          name: "fleet",
          env,
          globalSetup: "test/builders/engine/lane-setup.ts",
          include: ["test/fleet/**/*.test.ts"],
          root: ".",
          testTimeout: 900_000,
          hookTimeout: 900_000,
          // Each lab has engines and namespaces of its own, and waits for declared times more than it computes.
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "vm",
          env,
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
