import type { Logger } from 'pino';
import { toMigrationError } from '../../shared/errors.js';
import type { GuestKinds, Survivor } from './hosted-guest.js';
import { HostedVm } from './hosted-vm.js';
import { logChanges } from './log-changes.js';
import type { Decisions, VmTable } from './vm-table.js';

export interface TakeUpOptions {
  vms: VmTable;
  kinds: GuestKinds;
  journal: Decisions;
  logger: Logger;
}

/** Takes up the guests that outlived an earlier run of the agent. To be done before anybody can ask for one of them. */
export async function takeUpSurvivors(options: TakeUpOptions): Promise<void> {
  const definitionOf = (name: string) => options.vms.find(name)?.definition;
  for (const kind of Object.values(options.kinds)) {
    for (const survivor of (await kind.survivors?.(definitionOf)) ?? []) await takeUp(survivor, options);
  }
}

/**
 * A guest that an earlier run left behind. One that was coming here is this node's own if and only if the journal has its
 * commit; one whose commit was sent to another node stays as it is until the outcome is known.
 */
async function takeUp(survivor: Survivor, { vms, journal, logger: parent }: TakeUpOptions): Promise<void> {
  const { definition, incoming } = survivor;
  const { name } = definition;
  const logger = parent.child({ vm: name });
  let vm = vms.find(name);
  try {
    if (incoming !== null && journal.get(incoming)?.decision !== 'committed') {
      await survivor.destroy();
      logger.info({ migration: incoming }, 'what was left of a guest that did not come here is removed');
      return;
    }
    if (!vm) {
      vm = new HostedVm(definition, undefined);
      vms.add(vm);
      await vms.save(vm);
    }
    vm.guest = logChanges(name, await survivor.takeUp(), parent);
    vm.memoryTaken = true;
    if (incoming !== null) await vm.guest.own?.();
    const held = journal.entries().some((entry) => entry.decision === 'commit-sent' && entry.vm === name);
    if (!held) await vm.guest.settle();
    logger.info({ state: vm.guest.state, held }, 'VM taken up: it outlived the agent');
  } catch (error) {
    const { message } = toMigrationError(error);
    const reason =
      `VM ${name} is from before the agent started and could not be taken up: ${message}. Mend that and restart the ` +
      `agent, or end what there is of its machine with 'vmferry vm stop ${name}'`;
    logger.error({ err: error }, reason);
    if (!vm) return;
    if (incoming !== null) vm.kept = Promise.resolve(false);
    if (vm.guest) {
      vm.trouble = `an earlier run of the agent has left it ${vm.guest.state}: ${message}`;
      return;
    }
    vm.stray = { reason, destroy: () => survivor.destroy() };
    vm.memoryTaken = true;
  }
}
