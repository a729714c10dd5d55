/** What the page tells beside commands and the configuration. */

type Terms = readonly (readonly [term: string, text: string])[];

/** Beside those that stand for options, of which `--help` tells. */
export const VARIABLES: Terms = [
  ['SHELL', 'completion prints the script for zsh if its name is in it, otherwise that for bash.'],
  ['PATH', 'Where the agent looks for QEMU, if qemu.binary is no path.'],
  [
    'NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID',
    'Set by systemd for the agent, which tells it when it serves, reloads, stops, and that it is alive.',
  ],
];

export const SIGNALS: Terms = [
  [
    'SIGTERM, SIGINT to the agent',
    'It shuts down: migrations away from it are finished or cancelled, as shutdown in its configuration says; guests on ' +
      'QEMU go on without it, and the next agent takes them up; embedded guests end. It exits with 0. A second signal ends it at once, with 1.',
  ],
  [
    'SIGHUP to the agent',
    'It reads its certificates and tokens again; where they are wrong, it keeps the former ones and logs why. No other part ' +
      'of the configuration is read again.',
  ],
  [
    'SIGINT (Ctrl-C), SIGTERM to a command',
    'migrate cancels its migration and waits for its end; a second signal leaves without waiting. status --watch ' +
      'and vm console end; the VM is not touched.',
  ],
];

export const FILES: Terms = [
  ['/etc/vmferry/agent.yaml', "The agent's configuration."],
  ['/etc/vmferry/pki', 'Certificates, keys and the CA, where the package expects them.'],
  [
    '/usr/share/doc/vmferry/examples/agent.yaml',
    'An example of the configuration, with the paths that are used here.',
  ],
  ['/usr/lib/vmferry/make-certificates', 'Makes a CA, and certificates for nodes and operators.'],
  [
    '/run/vmferry/agent.sock',
    "The socket of the agent's API, for root and the user vmferry: unix:/run/vmferry/agent.sock.",
  ],
  ['/run/vmferry/guests', 'Sockets, consoles and records of guests on QEMU.'],
  ['/var/lib/vmferry', 'Definitions of VMs, and the journal of which node has which VM.'],
  [
    '/var/lib/vmferry/images',
    'Disks, kernels and initrds that VMs from other nodes may have, if qemu.allow.files names no others.',
  ],
  ['/dev/shm', 'The RAM of guests on QEMU, if qemu.memoryDirectory names no other directory.'],
];

/** Definitions that are complete. */
export const DEFINITIONS: Terms = [
  [
    `name: db-1
kind: qemu
memory: 4GiB
cpus: 2
disks:
  - file: /var/lib/vmferry/images/db-1.qcow2
    format: qcow2
nics:
  - tap: vmferry0
    mac: '52:54:00:12:34:56'`,
    'A machine that runs in QEMU. Disks and taps must be there under the same names on each node that it may run on.',
  ],
  [
    `name: web-1
kind: embedded
memory: 64MiB
program: ticker`,
    "A small machine in the agent itself, to try things with. Programs: idle, ticker, dirty, checksum, or 'elf: FILE' for one of yours.",
  ],
];

/** Where the page says more than a page can. */
export const DOCUMENTS: Terms = [
  ['README.md', 'a first migration, and an overview'],
  [
    'OPERATIONS.md',
    'installing, definitions of VMs, privileges, TLS and tokens, maintenance, monitoring, limits, and what to do when something goes wrong',
  ],
  ['CONFIGURATION.md', 'the configuration, as above'],
  ['SECURITY.md', 'what is protected against whom'],
];
