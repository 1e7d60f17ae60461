// Why an exchange came to nothing, as an error: made by exchange.ts. shared/text/words/exchange-words.ts words it.

import type { ExchangeFault } from "../../shared/fault/exchange-fault.ts";

/** An exchange that came to nothing. */
export class ExchangeFailure extends Error {
  readonly fault: ExchangeFault;

  constructor(fault: ExchangeFault, cause?: Error) {
    super(`exchange: ${fault.kind === "network" ? fault.code : fault.kind}`, cause === undefined ? {} : { cause });
    this.fault = fault;
  }
}
