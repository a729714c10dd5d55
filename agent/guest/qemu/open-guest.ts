import type { Logger } from 'pino';
import type { AgentConfig } from '../../../shared/config.js';
import type { GuestRecord } from './process/guest-record.js';
import { connectQemu, type StartedQemu } from './process/launch-qemu.js';
import { QemuProcess } from './process/qemu-process.js';
import type { RunDirectory } from './process/run-directory.js';
import { QemuConsole } from './qemu-console.js';
import { QemuGuest } from './qemu-guest.js';
import { objectSizes, QemuMemory } from './qemu-memory.js';
import { RunState } from './run-state.js';
import { canGiveBack } from './write-log/can-give-back.js';
import { chooseWriteLog } from './write-log/choose-write-log.js';
import { closeUnusedUserfaultfds } from './write-log/take-userfaultfd.js';

/** For a QEMU that runs to answer; it does not while it has another client. ms */
const REOPEN_MS = 10_000;

type WriteLogChoice = AgentConfig['qemu']['writeLog'];

/** Maps the memory of the QEMU of a record, whether or not that runs. */
export function openMemory({ definition, ramFiles }: GuestRecord): QemuMemory {
  const sizes = objectSizes(definition);
  return QemuMemory.open(ramFiles.map((path, index) => ({ path, bytes: sizes[index] ?? 0 })));
}

/**
 * Opens the console of a running QEMU and chooses how its writes are followed: what makes it, with its mapped memory, a
 * guest. Where that fails the memory is released.
 */
export async function openGuest(
  directory: RunDirectory,
  { record, control }: StartedQemu,
  memory: QemuMemory,
  choice: WriteLogChoice,
  logger: Logger,
): Promise<QemuGuest> {
  const { definition, consoleBase } = record;
  let console: QemuConsole | null = null;
  let guest: QemuGuest | undefined;
  const givesBack = (): boolean => canGiveBack(definition) && guest?.state === 'running';
  try {
    if (consoleBase !== null) console = new QemuConsole(definition.name, directory, consoleBase);
    const { pid } = control.process;
    const writeLog = await chooseWriteLog({ pid, regions: memory.tracked, choice, givesBack });
    // It listens before it asks, or what happens in between would be lost.
    const run = new RunState(control, record.wanted === 'finished' ? 'finished' : 'paused');
    await run.refresh();
    guest = new QemuGuest({ record, directory, control, memory, console, writeLog, run, logger });
    return guest;
  } catch (error) {
    console?.close();
    memory.release();
    throw error;
  }
}

/** Connects to the QEMU of a record, which runs, and makes it a guest again. */
export async function reopenGuest(
  directory: RunDirectory,
  record: GuestRecord,
  choice: WriteLogChoice,
  logger: Logger,
): Promise<QemuGuest> {
  const process = QemuProcess.found(record.process!);
  const control = await connectQemu(record.definition.name, directory, process, record.qmpSocket, REOPEN_MS);
  try {
    const guest = await openGuest(directory, { record, control }, openMemory(record), choice, logger);
    guest.unsettle();
    if (guest.writeLog.kind === 'userfaultfd') sweepUserfaultfds(record.definition.name, process.pid, logger);
    return guest;
  } catch (error) {
    control.release();
    throw error;
  }
}

/** They harm nobody: that they can't be closed is no reason to do without the guest. */
function sweepUserfaultfds(vm: string, pid: number, logger: Logger): void {
  try {
    const closed = closeUnusedUserfaultfds(pid);
    if (closed > 0)
      logger.info({ vm, closed }, 'closed a userfaultfd that an agent which was killed had left in QEMU');
  } catch (error) {
    const text = 'whether an agent that was killed has left a userfaultfd in QEMU can not be seen to';
    logger.warn({ vm, err: error }, text);
  }
}
