import type { Argv } from 'yargs';
import { EXIT, type OutcomeReport } from '../../shared/api.js';
import { onlyWith } from './option-needs.js';
import type { GlobalOptions, Run } from './session.js';
import { checkedName, withName } from './vm-name.js';

/** `vmferry vm resolve`: whose a VM is whose migration's outcome is not known. */
export function resolveCommand(vm: Argv<GlobalOptions>, run: Run): void {
  vm.command(
    'resolve <vm>',
    'settle which node has a VM when the outcome of its migration is unknown',
    (command) =>
      withName(command)
        .option('owner', {
          type: 'string',
          requiresArg: true,
          describe:
            'the node that is to have the VM; without it, print what is known, what is risked and what to run',
        })
        .option('force', {
          type: 'boolean',
          describe:
            'decide without asking the target: only where that node is switched off (fenced) or gone for good',
        })
        .example('$0 vm resolve web-1', 'print what is known; exit code 5 while it is not settled')
        .example(
          '$0 vm resolve web-1 --owner a --force',
          'go on with it on node a, where you know that node b is off',
        ),
    async (args) => {
      await run({ ...args, subject: { vm: args.vm } }, async ({ client, output }) => {
        const name = checkedName(args.vm);
        onlyWith('--force', args.force, '--owner', args.owner);
        if (args.owner === undefined) {
          const report = await client.guestOutcome(name);
          output.result(report, () => reportText(report));
          return report.open ? EXIT.unknown : EXIT.done;
        }
        const resolution = await client.resolveGuest(name, { owner: args.owner, force: args.force === true });
        output.result(resolution, () =>
          resolution.guest
            ? `${name} is node ${resolution.owner}'s: it is ${resolution.guest.status}`
            : `${name} is node ${resolution.owner}'s: nothing of it is left here`,
        );
        return EXIT.done;
      });
    },
  );
}

function reportText({ vm, open }: OutcomeReport): string {
  if (!open) return `nothing is to be resolved for ${vm}`;
  const { migration, from, to, since, takenBack, known, choices } = open;
  return [
    takenBack
      ? `${vm} was taken back to node ${from}; migration ${migration} had sent its commit to node ${to} at ${since}`
      : `${vm} is paused on node ${from}: migration ${migration} sent its commit to node ${to} at ${since} and has no answer`,
    `known: ${known}`,
    ...choices.flatMap(({ owner, risk, command }) => [
      '',
      `it is to be node ${owner}'s`,
      `  risk: ${risk}`,
      `  run:  ${command}`,
    ]),
  ].join('\n');
}
