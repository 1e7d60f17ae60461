// How far long work with many bytes is: on a terminal one line that changes, with rate and time left; elsewhere a line now and then.

import { describeSize } from "../../../shared/text/size.ts";

/** A stream that lines go to. */
interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
}

const TERMINAL_EVERY_MS = 200;
const ELSEWHERE_EVERY_MS = 10_000;
/** The rate is of the last so long, so that a slow disk behind a fast one shows. */
const WINDOW_MS = 10_000;
const BAR_WIDTH = 24;

/** Shows one piece of work. */
export class TransferProgress {
  readonly #output: Output;
  readonly #doing: string;
  readonly #totalBytes: number;
  readonly #nowMs: () => number;
  readonly #startedMs: number;
  #marks: { atMs: number; bytes: number }[];
  #doneBytes = 0;
  #shownMs: number;
  #isShown = false;

  /**
   * @param work what is done, in words, and about how many bytes that is
   * @param nowMs a monotonic clock
   */
  constructor(
    output: Output,
    work: { doing: string; totalBytes: number },
    nowMs: () => number = () => performance.now(),
  ) {
    this.#output = output;
    this.#doing = work.doing;
    this.#totalBytes = work.totalBytes;
    this.#nowMs = nowMs;
    this.#startedMs = nowMs();
    this.#shownMs = this.#startedMs;
    this.#marks = [{ atMs: this.#startedMs, bytes: 0 }];
  }

  /** So many bytes more are done. */
  readonly add = (bytes: number): void => {
    this.#doneBytes += bytes;
    const nowMs = this.#nowMs();
    if (nowMs - this.#shownMs < (this.#output.isTTY === true ? TERMINAL_EVERY_MS : ELSEWHERE_EVERY_MS)) return;
    this.#shownMs = nowMs;
    const line = this.#describe(nowMs);
    this.#output.write(this.#output.isTTY === true ? `\r\u001B[K${line}` : `${line}\n`);
    this.#isShown = true;
  };

  /** Takes the line away, however the work ended. */
  end(): void {
    if (this.#isShown && this.#output.isTTY === true) this.#output.write("\r\u001B[K");
    this.#isShown = false;
  }

  #describe(nowMs: number): string {
    this.#marks.push({ atMs: nowMs, bytes: this.#doneBytes });
    while (this.#marks.length > 2 && (this.#marks[0]?.atMs ?? nowMs) < nowMs - WINDOW_MS) this.#marks.shift();
    const [first = { atMs: this.#startedMs, bytes: 0 }] = this.#marks;
    const rate = ((this.#doneBytes - first.bytes) * 1_000) / Math.max(1, nowMs - first.atMs);
    // An estimate may be passed.
    const total = Math.max(this.#totalBytes, this.#doneBytes);
    const share = total === 0 ? 1 : this.#doneBytes / total;
    const left = rate > 0 ? describeLeft((total - this.#doneBytes) / rate) : "?";
    const bar =
      this.#output.isTTY === true ? `[${"#".repeat(Math.floor(share * BAR_WIDTH)).padEnd(BAR_WIDTH, ".")}] ` : "";
    return `${this.#doing}: ${bar}${Math.floor(share * 100)} %, ${describeSize(this.#doneBytes)} of about ${describeSize(total)}, ${describeSize(rate)}/s, ${left} left`;
  }
}

function describeLeft(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
}
