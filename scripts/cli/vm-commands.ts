import { resolve } from 'node:path';
import type { Argv } from 'yargs';
import { EXIT } from '../../shared/api.js';
import { consoleCommand } from './console-command.js';
import { readDefinition } from './definition-file.js';
import { guestTable, guestText } from './guest-text.js';
import { resolveCommand } from './resolve-command.js';
import type { GlobalOptions, Run } from './session.js';
import { checkedName, withName } from './vm-name.js';

const CHANGES = [
  ['start', 'boot a VM', 'is started'],
  ['stop', 'end a VM at once, as if its power failed; its definition stays', 'is stopped'],
  ['pause', 'halt a VM; it stays in memory', 'is paused'],
  ['resume', 'let a paused VM go on', 'runs'],
] as const;

/** `vmferry vm …`: the VMs of one agent. */
export function vmCommands(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command('vm', 'define, start, stop and look at VMs', (vm) => {
    defineCommands(vm, run);
    changeCommands(vm, run);
    adoptCommand(vm, run);
    resolveCommand(vm, run);
    lookCommands(vm, run);
    consoleCommand(vm, run);
    return vm.demandCommand(
      1,
      'say what to do: define, undefine, start, stop, pause, resume, adopt, resolve, list, show or console',
    );
  });
}

function defineCommands(vm: Argv<GlobalOptions>, run: Run): void {
  vm.command(
    'define <file>',
    'make a VM known to the agent',
    (command) =>
      command
        .positional('file', {
          type: 'string',
          demandOption: true,
          describe: "file with its definition, YAML or JSON; '-' reads standard input",
        })
        .example(
          '$0 vm define web-1.yaml',
          'with {name: web-1, kind: embedded, memory: 64MiB, program: ticker} in it',
        )
        .example(
          '$0 vm define db-1.yaml',
          'with {name: db-1, kind: qemu, memory: 1GiB, disks: [{file: /srv/db-1.qcow2, format: qcow2}]} in it',
        )
        .example(
          '$0 vm define mine.yaml',
          "with 'elf: mine.elf' in it: the program that an embedded VM boots, a file beside mine.yaml",
        ),
    async (args) => {
      await run(args, async ({ client, output, terminal }) => {
        // yargs hands a lone dash over as an empty text
        const file = args.file === '' ? '-' : args.file;
        const { definition, image, located } = await readDefinition(file, terminal.stdin);
        const guest = await client.defineGuest(definition, image).catch((error: unknown) => {
          throw located(error);
        });
        output.result(
          guest,
          () => `${guest.name} is defined; start it with 'vmferry vm start ${guest.name}'`,
        );
        return EXIT.done;
      });
    },
  );
  vm.command(
    'undefine <vm>',
    'forget a stopped VM',
    (command) =>
      withName(command).example(
        '$0 vm undefine web-1',
        'drops its definition, and the program (elf) that came with that; its disks stay',
      ),
    async (args) => {
      await run({ ...args, subject: { vm: args.vm } }, async ({ client, output }) => {
        const name = checkedName(args.vm);
        await client.undefineGuest(name);
        output.result({ name }, () => `${name} is not defined any more`);
        return EXIT.done;
      });
    },
  );
}

function changeCommands(vm: Argv<GlobalOptions>, run: Run): void {
  for (const [action, describe, done] of CHANGES) {
    vm.command(
      `${action} <vm>`,
      describe,
      (command) => withName(command).example(`$0 vm ${action} web-1`, describe),
      async (args) => {
        await run({ ...args, subject: { vm: args.vm } }, async ({ client, output }) => {
          const guest = await client.changeGuest(checkedName(args.vm), action);
          output.result(guest, () => `${guest.name} ${done}`);
          return EXIT.done;
        });
      },
    );
  }
}

function adoptCommand(vm: Argv<GlobalOptions>, run: Run): void {
  vm.command(
    'adopt <vm>',
    'take over a running QEMU that somebody else started',
    (command) =>
      withName(command)
        .option('qmp', {
          type: 'string',
          requiresArg: true,
          demandOption: true,
          describe: "its QMP socket, a path on the agent's host",
        })
        .example(
          '$0 vm adopt web-1 --qmp /run/web-1.qmp',
          'its RAM must be a shared file; if not, you are told how to start QEMU',
        ),
    async (args) => {
      await run(args, async ({ client, output }) => {
        const guest = await client.adoptGuest(checkedName(args.vm), resolve(args.qmp));
        output.result(guest, () => `${guest.name} is adopted: it is ${guest.status}`);
        return EXIT.done;
      });
    },
  );
}

function lookCommands(vm: Argv<GlobalOptions>, run: Run): void {
  vm.command(
    'list',
    "list the agent's VMs",
    (command) => command.example('$0 vm list --json', 'the same, for scripts'),
    async (args) => {
      await run(args, async ({ client, output }) => {
        const guests = await client.guests();
        output.result(guests, () => guestTable(guests));
        return EXIT.done;
      });
    },
  );
  vm.command(
    'show <vm>',
    'show all about one VM',
    (command) => withName(command).example('$0 vm show web-1', 'its state, memory, program and figures'),
    async (args) => {
      await run({ ...args, subject: { vm: args.vm } }, async ({ client, output }) => {
        const guest = await client.guest(checkedName(args.vm));
        output.result(guest, () => guestText(guest));
        return EXIT.done;
      });
    },
  );
}
