// What every kind of repository must do; run on each of them.

import { describe, expect, test } from "vitest";

import { findLogFolder } from "../../agent/backup/repository/backup-path.ts";
import type { Repository, StoreFolder } from "../../agent/backup/repository/repository-port.ts";

/** One repository, empty. */
export interface RepositoryLab {
  repository: Repository;
  /** Another one on the same place, as the next run of the agent opens it. */
  reopen(): Repository;
}

const FOLDER: StoreFolder = { node: "vm1", service: "pg", store: "db" };

async function read(repository: Repository, name: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.read(FOLDER, name)) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

/** Describes the port. */
export function describeRepository(kind: string, open: () => Promise<RepositoryLab>): void {
  describe(`a repository: ${kind}`, () => {
    test("that has nothing lists nothing", async () => {
      const { repository } = await open();
      expect(await repository.list(FOLDER)).toEqual([]);
      await repository.sweep(FOLDER);
      await repository.remove(FOLDER, "gone.dump").catch(() => undefined);
    });

    test("knows the terms that a store has folders of, by their names alone", async () => {
      const { repository } = await open();
      const [first, second] = ["t1-20261201T073112Z", "t12-20261202T000000Z"];
      const places: StoreFolder[] = [
        FOLDER,
        { ...FOLDER, term: first },
        { ...FOLDER, term: second, area: "base" },
        { ...FOLDER, term: second, shard: "0a" },
        { ...FOLDER, store: "db2", term: "t3-20261203T000000Z" },
      ];
      expect(await repository.listTerms(FOLDER)).toEqual([]);
      for (const [at, folder] of places.entries()) {
        const pending = await repository.create(folder, `f${at}.dump`);
        await pending.write(Buffer.from("data"));
        await pending.publish();
      }
      expect((await repository.listTerms(FOLDER)).toSorted()).toEqual([second, first].toSorted());
      expect(await repository.list(FOLDER)).toEqual(["f0.dump"]);
      expect(await repository.list({ ...FOLDER, term: first })).toEqual(["f1.dump"]);
    });

    test("shows a file once it is published, whole, and to others too", async () => {
      const lab = await open();
      const { repository } = lab;
      const pending = await repository.create(FOLDER, "a.dump");
      await pending.write(Buffer.from("one "));
      expect(await repository.list(FOLDER)).toEqual([]);
      await pending.write(Buffer.from("two"));
      await pending.publish();
      expect(await repository.list(FOLDER)).toEqual(["a.dump"]);
      expect(await read(repository, "a.dump")).toBe("one two");
      expect(await read(lab.reopen(), "a.dump")).toBe("one two");
    });

    test("keeps copies of the audit log beside the folders of stores", async () => {
      const { repository } = await open();
      const log = findLogFolder("vm1");
      const pending = await repository.create(log, "audit-1.jsonl");
      await pending.write(Buffer.from("line"));
      await pending.publish();
      await repository.sweep(log);
      expect(await repository.list(log)).toEqual(["audit-1.jsonl"]);
      expect(await repository.readText(log, "audit-1.jsonl")).toBe("line");
      expect(await repository.list(FOLDER)).toEqual([]);
    });

    test("keeps a large file as it is", async () => {
      const { repository } = await open();
      const pending = await repository.create(FOLDER, "large.dump");
      const piece = Buffer.from(Array.from({ length: 100_000 }, (_, at) => at % 251));
      for (let at = 0; at < 60; at += 1) await pending.write(piece);
      await pending.publish();
      let bytes = 0;
      for await (const chunk of repository.read(FOLDER, "large.dump")) {
        for (let at = 0; at < chunk.length; at += 9_973) expect(chunk[at]).toBe(((bytes + at) % 100_000) % 251);
        bytes += chunk.length;
      }
      expect(bytes).toBe(6_000_000);
    });

    test("overwrites nothing: of two under one name the first stays", async () => {
      const { repository } = await open();
      const [first, second] = [await repository.create(FOLDER, "a.dump"), await repository.create(FOLDER, "a.dump")];
      await first.write(Buffer.from("first"));
      await second.write(Buffer.from("second"));
      await first.publish();
      await expect(second.publish()).rejects.toThrow("a.dump");
      await second.abandon();
      expect(await read(repository, "a.dump")).toBe("first");
    });

    test("what is abandoned, or was never ended, is nowhere", async () => {
      const lab = await open();
      const { repository } = lab;
      const abandoned = await repository.create(FOLDER, "a.dump");
      await abandoned.write(Buffer.from("half"));
      await abandoned.abandon();
      await abandoned.abandon();
      const killed = await repository.create(FOLDER, "b.dump");
      await killed.write(Buffer.from("half"));
      const next = lab.reopen();
      await next.sweep(FOLDER);
      expect(await next.list(FOLDER)).toEqual([]);
      await killed.abandon();
    });

    test("a small text is replaced whole, and read back", async () => {
      const { repository } = await open();
      await repository.replaceText(FOLDER, "a.manifest.json", "{}");
      await repository.replaceText(FOLDER, "a.manifest.json", `{"pinned":true}`);
      expect(await repository.readText(FOLDER, "a.manifest.json")).toBe(`{"pinned":true}`);
      expect(await repository.list(FOLDER)).toEqual(["a.manifest.json"]);
    });

    test("what is removed is gone, and removing it again is fine", async () => {
      const { repository } = await open();
      await repository.replaceText(FOLDER, "a.manifest.json", "{}");
      await repository.remove(FOLDER, "a.manifest.json");
      await repository.remove(FOLDER, "a.manifest.json");
      expect(await repository.list(FOLDER)).toEqual([]);
      await expect(repository.readText(FOLDER, "a.manifest.json")).rejects.toThrow("a.manifest.json");
    });

    test.each(["../out", "a/b", ".hidden", "", "-x", "a\nb"])("no name leads elsewhere: %j", async (name) => {
      const { repository } = await open();
      await expect(async () => repository.create({ ...FOLDER, store: name }, "a.dump")).rejects.toThrow(
        "is no name of a backup",
      );
      if (name !== "")
        await expect(async () => repository.create(FOLDER, name)).rejects.toThrow("is no name of a backup");
    });

    test("stores do not see each other", async () => {
      const { repository } = await open();
      await repository.replaceText(FOLDER, "a.manifest.json", "{}");
      expect(await repository.list({ ...FOLDER, store: "other" })).toEqual([]);
      expect(await repository.list({ ...FOLDER, service: "other" })).toEqual([]);
      expect(await repository.list({ ...FOLDER, node: "other" })).toEqual([]);
    });
  });
}
