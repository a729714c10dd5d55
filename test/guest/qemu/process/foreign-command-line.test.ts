import { test } from 'tap';
import { readCommandLine } from '../../../../agent/guest/qemu/process/foreign-command-line.js';

const RAM = ['-object', 'memory-backend-file,id=ram0,size=1G,mem-path=/dev/shm/x.ram,share=on'];
const MACHINE = ['-machine', 'q35,memory-backend=ram0'];
const PLAIN = ['-nodefaults', ...RAM, ...MACHINE, '-m', '1G'];

void test('a plain QEMU as a definition', (t) => {
  const { definition, ramFiles } = readCommandLine('web', PLAIN, '/home');
  t.same(definition, {
    name: 'web',
    kind: 'qemu',
    memory: 2 ** 30,
    cpus: 1,
    machine: 'q35',
    accel: 'tcg',
    serial: false,
    disks: [],
    nics: [],
    arguments: [],
  });
  t.same(ramFiles, [{ path: '/dev/shm/x.ram', bytes: 2 ** 30 }]);
  t.end();
});

void test('what is known is mapped, what the agent adds itself is dropped, the rest stays as it is', (t) => {
  const { definition, ramFiles } = readCommandLine(
    'web',
    [
      ...['-name', 'old,process=x', '-nodefaults', '-no-user-config', '-daemonize', '-S', '-nographic'],
      ...['-sandbox', 'on,spawn=deny'],
      ...[
        '-object',
        '{"qom-type":"memory-backend-file","id":"ram0","size":1048576,"mem-path":"/m,0","share":true}',
      ],
      ...['-object', 'memory-backend-file,id=ram1,size=2M,mem-path=/m,,1,share=yes'],
      ...['-object', 'rng-random,id=rng'],
      ...['-M', 'type=pc-q35-7.2,accel=kvm:tcg,vmport=off', '-m', '3', '-smp', '4,sockets=2'],
      ...['-numa', 'node,memdev=ram0', '-numa', 'node,nodeid=1,memdev=ram1', '-cpu', 'host,-avx'],
      ...['-kernel', 'vmlinuz', '-initrd', '/boot/initrd', '-append', '-x'],
      ...[
        '-qmp',
        'unix:/q,server=on',
        '-pidfile',
        '/p',
        '-incoming',
        'defer',
        '-display',
        'none',
        '-vga',
        'std',
      ],
      ...['-chardev', 'socket,id=mon,path=/m', '-mon', 'chardev=mon', '-chardev', 'null,id=n'],
      ...['-chardev', 'stdio,id=tty', '-serial', 'chardev:tty'],
      ...['-device', 'virtio-serial', '--device', 'virtio-rng-pci,rng=rng'],
    ],
    '/srv/vm',
  );
  t.match(definition, {
    machine: 'pc-q35-7.2',
    accel: 'kvm',
    cpu: 'host,-avx',
    cpus: 4,
    memory: 3 * 2 ** 20,
    memoryObjects: [{ size: 2 ** 20 }, { size: 2 ** 21 }],
    serial: true,
    boot: { kernel: '/srv/vm/vmlinuz', initrd: '/boot/initrd', append: '-x' },
  });
  t.same(definition.arguments, [
    ...['-chardev', 'null,id=n', '-object', 'rng-random,id=rng', '-machine', 'vmport=off'],
    ...['-smp', 'sockets=2', '-vga', 'std', '-device', 'virtio-serial'],
    ...['--device', 'virtio-rng-pci,rng=rng'],
  ]);
  t.same(ramFiles, [
    { path: '/m,0', bytes: 2 ** 20 },
    { path: '/m,1', bytes: 2 ** 21 },
  ]);
  t.end();
});

void test('what can not be migrated is refused with a reason and a remedy', (t) => {
  const memory = (text: string) => ['-nodefaults', '-object', text, ...MACHINE];
  const cases: { parameters: string[]; message: RegExp }[] = [
    {
      parameters: [...RAM, ...MACHINE],
      message: /devices that QEMU adds by itself; start it with -nodefaults/,
    },
    {
      parameters: ['-nodefaults', '-m', '1G'],
      message: /RAM is private to QEMU; start it with -object memory-/,
    },
    {
      parameters: memory('memory-backend-file,id=ram0,size=1G,mem-path=/x'),
      message: /RAM 'ram0' is not shared; start it with .*share=on/,
    },
    {
      parameters: memory('memory-backend-ram,id=ram0,size=1G'),
      message: /RAM 'ram0' is in no file \(memory-backend-ram\); start/,
    },
    {
      parameters: memory('memory-backend-memfd,id=ram0,size=1G,share=on'),
      message: /in no file \(memory-backend-memfd\)/,
    },
    {
      parameters: [
        ...['-nodefaults', '-object', 'memory-backend-file,id=mem,size=1G,mem-path=/x,share=on'],
        ...['-machine', 'q35,memory-backend=mem'],
      ],
      message: /memory object 0 is named 'mem'; start it with id=ram0/,
    },
    {
      parameters: ['-nodefaults', ...RAM, '-machine', 'memory-backend=other'],
      message: /no memory object 'other'/,
    },
    { parameters: [...PLAIN, '-m', '1G,slots=2,maxmem=4G'], message: /memory can be plugged into it/ },
    {
      parameters: [...PLAIN, '-numa', 'node,cpus=0-1,memdev=ram0'],
      message: /NUMA nodes are more than memory/,
    },
    { parameters: [...PLAIN, '-accel', 'xen'], message: /accelerator is 'xen'/ },
    { parameters: [...PLAIN, '-accel', 'kvm,kernel-irqchip=split'], message: /accelerator has properties/ },
    { parameters: [...PLAIN, '-serial', 'null', '-serial', 'null'], message: /several serial ports/ },
    {
      parameters: memory('memory-backend-file,id=ram0,size=lots,mem-path=/x,share=on'),
      message: /as a definition of VM web, is not valid: memory/,
    },
  ];
  for (const { parameters, message } of cases) {
    t.throws(() => readCommandLine('web', parameters, '/'), { code: 'unsupported-guest', message });
  }
  t.end();
});
