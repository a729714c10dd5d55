import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Argv } from 'yargs';
import { EXIT } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { followConsole } from './console-follow.js';
import { forwardInput } from './console-input.js';
import type { ExitCode } from './exit-code.js';
import type { GlobalOptions, Run, Session } from './session.js';
import { checkedName, withName } from './vm-name.js';

/** `vmferry vm console`: a VM's serial line, wherever the VM goes. */
export function consoleCommand(vm: Argv<GlobalOptions>, run: Run): void {
  vm.command(
    'console <vm>',
    "show a VM's console and type into it; Ctrl-] leaves",
    (command) =>
      withName(command)
        .option('follow', {
          type: 'boolean',
          default: true,
          describe:
            'go on with what the VM prints, on other nodes too; --no-follow prints what is kept, and ends',
        })
        .option('input', {
          type: 'boolean',
          default: true,
          describe: 'send standard input to the VM; --no-input leaves it alone',
        })
        .option('position', {
          type: 'number',
          default: 0,
          requiresArg: true,
          describe: 'leave out the first bytes of all that the VM has ever printed, so many',
        })
        .example('$0 vm console web-1', 'watch and type; Ctrl-] leaves')
        .example('$0 vm console web-1 --no-follow', 'print what is kept, and end')
        .example('echo date | $0 vm console web-1', 'send a line, then watch'),
    async (args) => {
      await run({ ...args, subject: { vm: args.vm } }, async (session) => {
        const name = checkedName(args.vm);
        if (!Number.isSafeInteger(args.position) || args.position < 0) {
          throw new MigrationError('invalid-request', `--position: ${args.position} is no count of bytes`);
        }
        if (!args.follow) return await printConsole(session, name, args.position);
        if (args.json) {
          throw new MigrationError('invalid-request', '--json prints one document: use it with --no-follow');
        }
        return await attach(session, name, args.position, args.input);
      });
    },
  );
}

async function printConsole({ client, output }: Session, name: string, position: number): Promise<ExitCode> {
  const chunk = await client.readConsole(name, position);
  if (output.json) output.result(chunk, () => '');
  else await writeAll(output.stdout, Buffer.from(chunk.text, 'latin1'));
  return EXIT.done;
}

async function attach(session: Session, name: string, position: number, input: boolean): Promise<ExitCode> {
  const { output, terminal } = session;
  const leaving = new AbortController();
  let { client } = session;
  // an unknown VM is said before input is read or a terminal changes its mode
  await client.guest(name);
  const stopListening = terminal.onInterrupt(() => leaving.abort());
  const typing = input
    ? forwardInput({
        input: terminal.stdin,
        send: async (data) => await client.sendConsoleInput(name, data),
        signal: leaving.signal,
      }).then(
        (how) => {
          if (how === 'left') leaving.abort();
        },
        (thrown: unknown) => output.remark(`input is sent no more: ${toMigrationError(thrown).message}`),
      )
    : Promise.resolve();
  try {
    if (terminal.stdin.isTTY === true && input) output.remark(`console of ${name}; Ctrl-] leaves`);
    const end = await followConsole({
      client,
      name,
      position,
      write: async (bytes) => await writeAll(terminal.stdout, bytes),
      connect: (url) => (client = client.other(url)),
      remark: (line) => output.remark(line),
      signal: leaving.signal,
    });
    if (end !== null) output.remark(`${name} ${end.reason === 'finished' ? 'has finished' : 'was stopped'}`);
    return EXIT.done;
  } finally {
    stopListening();
    leaving.abort();
    await typing;
  }
}

/** Resolves when more may be written. */
async function writeAll(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (!stream.write(bytes)) await once(stream, 'drain');
}
