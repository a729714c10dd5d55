import { PassThrough } from 'node:stream';
import t from 'tap';
import { forwardInput } from '../../scripts/cli/console-input.js';
import type { Input } from '../../scripts/cli/session.js';
import { MigrationError } from '../../shared/errors.js';

const noDelay = async (): Promise<void> => await Promise.resolve();

await t.test('piped input is sent in pieces, in order, to its end', async (t) => {
  const input = new PassThrough();
  const data = Buffer.alloc(100_000, 'abcdefghi');
  const sent: Buffer[] = [];
  input.end(data);
  const how = await forwardInput({
    input,
    send: async (piece) => {
      t.ok(piece.length <= 32 * 1024, 'fits a request');
      sent.push(Buffer.from(piece));
      await Promise.resolve();
    },
    signal: new AbortController().signal,
  });
  t.equal(how, 'end');
  t.ok(Buffer.concat(sent).equals(data));
});

await t.test('a terminal is raw meanwhile, and Ctrl-] leaves', async (t) => {
  const modes: boolean[] = [];
  const input: Input & PassThrough = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (raw: boolean) => modes.push(raw),
  });
  const sent: string[] = [];
  input.write('ls\r\u001dnot this');
  const how = await forwardInput({
    input,
    send: async (piece) => {
      sent.push(Buffer.from(piece).toString());
      await Promise.resolve();
    },
    signal: new AbortController().signal,
  });
  t.equal(how, 'left');
  t.same(sent, ['ls\r']);
  t.same(modes, [true, false]);
});

await t.test('a refusal that passes is tried again, another is not', async (t) => {
  const refusals = ['limit-exceeded', 'wrong-state', 'not-found'] as const;
  let tries = 0;
  const send = async (): Promise<void> => {
    await Promise.resolve();
    const code = refusals[tries++];
    if (code !== undefined) throw new MigrationError(code, code);
  };
  const signal = new AbortController().signal;
  const input = new PassThrough();
  input.end('x');
  t.equal(await forwardInput({ input, send, signal, delay: noDelay }), 'end');
  t.equal(tries, 4);
  const refused = new PassThrough();
  refused.end('x');
  const fail = async (): Promise<void> => await Promise.reject(new MigrationError('invalid-request', 'no'));
  await t.rejects(forwardInput({ input: refused, send: fail, signal, delay: noDelay }), {
    code: 'invalid-request',
  });
});

await t.test('the signal ends it while nothing is typed', async (t) => {
  const leaving = new AbortController();
  const forwarding = forwardInput({ input: new PassThrough(), send: noDelay, signal: leaving.signal });
  leaving.abort();
  t.equal(await forwarding, 'end');
});
