import type { GuestInfo } from '../../shared/api.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { formatBytes } from '../../shared/units.js';
import { formatTable } from './table.js';

/** VMs for people, one a line; with their nodes, if these are told. */
export function guestTable(guests: readonly (GuestInfo & { node?: string })[]): string {
  if (guests.length === 0) return 'no VMs';
  const ofNodes = guests.some(({ node }) => node !== undefined);
  return formatTable(
    [
      ...(ofNodes ? [{ heading: 'node' }] : []),
      { heading: 'vm' },
      { heading: 'kind' },
      { heading: 'status' },
      { heading: 'memory', figures: true },
      { heading: 'migration' },
    ],
    guests.map(({ node, name, kind, status, memoryBytes, migration }) => [
      ...(ofNodes ? [node ?? ''] : []),
      name,
      kind,
      status,
      formatBytes(memoryBytes),
      migration ?? '',
    ]),
  );
}

/** One VM for people, a fact a line. */
export function guestText(guest: GuestInfo): string {
  const { definition } = guest;
  const facts: [string, string][] = [
    ['name', guest.name],
    ['kind', guest.kind],
    ['status', guest.status],
    ['memory', formatBytes(guest.memoryBytes)],
    ...definitionFacts(definition),
    ['migration', guest.migration ?? 'none'],
    ...(guest.failure === null ? [] : ([['failure', guest.failure]] as [string, string][])),
    ['write-log', guest.writeLog === null ? 'none' : `${guest.writeLog.kind}: ${guest.writeLog.reason}`],
    ['console', `${guest.consoleBytes} bytes`],
    ...Object.entries(guest.machine).map(([name, value]): [string, string] => [
      name,
      String(value ?? 'none'),
    ]),
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function definitionFacts(definition: GuestDefinition): [string, string][] {
  if (definition.kind === 'embedded') {
    const parameters = Object.entries(definition.parameters).map(([name, value]) => `${name}=${value}`);
    return [['program', [definition.program, ...parameters].join(' ')]];
  }
  const { machine, cpus, cpu, accel, boot, disks, nics } = definition;
  return [
    [
      'machine',
      `${machine}, ${cpus} vCPU${cpus === 1 ? '' : 's'}${cpu === undefined ? '' : ` ${cpu}`}, accel ${accel}`,
    ],
    ['boots', boot?.kernel ?? 'from its disks'],
    ['disks', disks.map(({ file }) => file).join(', ') || 'none'],
    ['networks', nics.map(({ tap, mac }) => `${tap} (${mac})`).join(', ') || 'none'],
  ];
}
