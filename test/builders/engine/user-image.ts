// An image with a user of its own, who has a name, beside the shared one: its passwd file is behind a link, as in some images.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The image, its user, and the files that say who that is. */
export const USER_IMAGE = {
  image: "orca-test/user:1",
  user: "app",
  uid: 4021,
  gid: 4022,
  files: {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:4021:4022::/home/app:/bin/sh\nother:x:4031:4032::/:/bin/sh\n",
    "/etc/group": "root:x:0:\napps:x:4022:app\nreaders:x:4055:\n",
  },
} as const;

/** Builds it from the shared test image. */
export function buildUserImage(): void {
  const directory = mkdtempSync(join(tmpdir(), "orca-user-image-"));
  try {
    const [etc, base] = [join(directory, "etc"), join(directory, "base")];
    for (const path of [etc, base]) mkdirSync(path);
    writeFileSync(join(base, "passwd"), USER_IMAGE.files["/etc/passwd"]);
    symlinkSync("../base/passwd", join(etc, "passwd"));
    writeFileSync(join(etc, "group"), USER_IMAGE.files["/etc/group"]);
    const lines = ["FROM orca-test/busybox:1", "COPY etc /etc", "COPY base /base", `USER ${USER_IMAGE.user}`, ""];
    writeFileSync(join(directory, "Dockerfile"), lines.join("\n"));
    const env = { ...process.env, DOCKER_BUILDKIT: "0" };
    execFileSync("docker", ["build", "-q", "-t", USER_IMAGE.image, directory], { env, stdio: "pipe" });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
