import { test } from 'tap';
import { refusedArguments } from '../../../../agent/guest/qemu/policy/argument-policy.js';

const ALLOWED = [
  '-rtc base=utc',
  '-no-hpet',
  '-device virtio-rng-pci,id=*,addr=*',
  '-device pvpanic',
  '-object rng-random,id=*,filename=/dev/urandom',
];

void test('what the operator lists', (t) => {
  for (const parameters of [
    [],
    ['-rtc', 'base=utc'],
    ['--rtc', 'base=utc', '-no-hpet'],
    ['-device', 'virtio-rng-pci', '-device', 'virtio-rng-pci,addr=7,id=rng0', '-device', 'pvpanic'],
    ['-object', 'rng-random,filename=/dev/urandom,id=r'],
  ]) {
    t.same(refusedArguments(parameters, ALLOWED), [], parameters.join(' '));
  }
  t.end();
});

void test('and nothing else', (t) => {
  for (const [parameters, refused] of [
    [['-device', 'virtio-rng-pci,romfile=/etc/shadow'], ['-device virtio-rng-pci,romfile=/etc/shadow']],
    [['-device', 'virtio-rng-pci,driver=vfio-pci'], ['-device virtio-rng-pci,driver=vfio-pci']],
    [['-device', 'driver=virtio-rng-pci'], ['-device driver=virtio-rng-pci']],
    [['-device', 'virtio-rng-pci,id=a,id=b'], ['-device virtio-rng-pci,id=a,id=b']],
    [['-device', 'virtio-rng-pci,,romfile=x'], ['-device virtio-rng-pci,,romfile=x']],
    [['-device', '{"driver":"virtio-rng-pci"}'], ['-device {"driver":"virtio-rng-pci"}']],
    [['-device', '{'], ['-device {']],
    [['-device'], ['-device ']],
    [['-object', 'rng-random,id=r,filename=/dev/mem'], ['-object rng-random,id=r,filename=/dev/mem']],
    [['-object', 'rng-random,id=r'], ['-object rng-random,id=r']],
    [['-rtc', 'base=utc,clock=vm'], ['-rtc base=utc,clock=vm']],
    // of a flag nothing is the value: QEMU would take it for a disk
    [['-no-hpet', '/etc/shadow'], ['/etc/shadow']],
    [['/etc/shadow'], ['/etc/shadow']],
    [['-'], ['-']],
    [
      ['---rtc', 'base=utc'],
      ['---rtc', 'base=utc'],
    ],
    [['-chardev', 'pipe,id=x,path=/p', '-rtc', 'base=utc'], ['-chardev pipe,id=x,path=/p']],
    [
      ['-monitor', 'stdio', '-S'],
      ['-monitor stdio', '-S'],
    ],
    [['-incoming', 'exec:id'], ['-incoming exec:id']],
    [['-qmp', 'tcp::1'], ['-qmp tcp::1']],
    [['-plugin', '/p.so'], ['-plugin /p.so']],
    [['-netdev', 'tap,id=n,script=/s'], ['-netdev tap,id=n,script=/s']],
    [['-fw_cfg', 'name=opt/a,file=/f'], ['-fw_cfg name=opt/a,file=/f']],
    [['-drive', 'file=nbd:h:1'], ['-drive file=nbd:h:1']],
    [['-blockdev', '{"driver":"file"}'], ['-blockdev {"driver":"file"}']],
  ] as const) {
    t.same(refusedArguments(parameters, ALLOWED), refused, parameters.join(' '));
  }
  t.end();
});
