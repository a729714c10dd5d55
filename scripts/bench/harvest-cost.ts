import { setTimeout } from 'node:timers/promises';
import { QemuMemory } from '../../agent/guest/qemu/qemu-memory.js';
import { chooseWriteLog } from '../../agent/guest/qemu/write-log/choose-write-log.js';
import type { QemuDefinition } from '../../shared/guest-definition.js';
import { acceleratorOf } from './accelerator.js';
import { type BenchGuest, definitionOf, guestLabel } from './bench-guest.js';
import type { HarvestSeries } from './bench-report.js';
import { QemuProcess } from './qemu-process.js';
import type { LocalBed } from './test-bed.js';

/** Between two harvests: an idle kernel writes a little meanwhile. ms */
const REST_MS = 100;

/** The first harvest after the start finds all that is mapped; this many don't count. */
const WARM_UP = 2;

/** How long a harvest of the write-log takes that an agent would choose for this guest, asked from this process. */
export async function harvestCost(
  bed: LocalBed,
  guest: BenchGuest,
  { accel, runs }: { accel: string; runs: number },
): Promise<HarvestSeries> {
  const initrd = await bed.linuxGuest();
  const definition = definitionOf(guest, 'harvest', {
    initrd,
    accel: await acceleratorOf(accel),
  }) as QemuDefinition;
  const qemu = await QemuProcess.start(
    { definition, folders: bed.folders, privateRam: false, launcher: [] },
    false,
  );
  let memory: QemuMemory | undefined;
  try {
    await qemu.ready();
    memory = QemuMemory.open([{ path: qemu.ramFile, bytes: guest.memoryBytes }]);
    const writeLog = await chooseWriteLog({
      pid: qemu.pid,
      regions: memory.tracked,
      choice: 'auto',
      // The Linux guest has no balloon.
      givesBack: () => false,
    });
    const times: number[] = [];
    await writeLog.start();
    try {
      for (let run = -WARM_UP; run < runs; run += 1) {
        await setTimeout(REST_MS);
        const since = performance.now();
        await writeLog.harvest();
        if (run >= 0) times.push(performance.now() - since);
      }
    } finally {
      await writeLog.stop();
    }
    return {
      guest: guestLabel(guest),
      memoryBytes: guest.memoryBytes,
      populatedBytes: await qemu.populatedBytes(),
      writeLog: writeLog.kind,
      runs: times,
    };
  } finally {
    memory?.release();
    await qemu.end();
  }
}
