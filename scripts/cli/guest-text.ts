import type { GuestInfo } from '../../shared/api.js';
import { formatBytes } from '../../shared/units.js';
import { formatTable } from './table.js';

/** VMs for people, one a line. */
export function guestTable(guests: readonly GuestInfo[]): string {
  if (guests.length === 0) return 'no VMs';
  return formatTable(
    [
      { heading: 'vm' },
      { heading: 'kind' },
      { heading: 'status' },
      { heading: 'memory', figures: true },
      { heading: 'migration' },
    ],
    guests.map(({ name, kind, status, memoryBytes, migration }) => [
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
  const parameters = Object.entries(definition.parameters).map(([name, value]) => `${name}=${value}`);
  const facts: [string, string][] = [
    ['name', guest.name],
    ['kind', guest.kind],
    ['status', guest.status],
    ['memory', formatBytes(guest.memoryBytes)],
    ['program', [definition.program, ...parameters].join(' ')],
    ['migration', guest.migration ?? 'none'],
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
