import type { Writable } from 'node:stream';
import type { ErrorBody } from '../../shared/errors.js';

/**
 * What a command says. With --json, standard output gets exactly one JSON document: the result, or {error} if there
 * is none. Without, it gets text for people. Errors and remarks go to standard error in both.
 */
export class Output {
  readonly json: boolean;
  readonly stdout: Writable;
  readonly #stderr: Writable;
  #printed = false;

  constructor(stdout: Writable, stderr: Writable, json: boolean) {
    this.stdout = stdout;
    this.#stderr = stderr;
    this.json = json;
  }

  /** The result: `document` as JSON, or `text` for people. */
  result(document: unknown, text: () => string): void {
    this.#printed = true;
    this.stdout.write(this.json ? `${JSON.stringify(document, null, 2)}\n` : `${text()}\n`);
  }

  /** A line of progress; people only. */
  progress(line: string): void {
    if (!this.json) this.stdout.write(`${line}\n`);
  }

  /** A line for whoever watches, beside the result. */
  remark(line: string): void {
    this.#stderr.write(`vmferry: ${line}\n`);
  }

  /** Why the command failed; where no result was printed before, this is the JSON document. */
  failure({ code, message, retryable }: ErrorBody): void {
    this.remark(message);
    if (this.json && !this.#printed) this.result({ error: { code, message, retryable } }, () => '');
  }
}
