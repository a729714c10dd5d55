import { test } from 'tap';
import { type Launch, qemuArguments } from '../../../../agent/guest/qemu/process/command-line.js';
import { QemuDefinitionSchema } from '../../../../shared/guest-definition.js';

function argumentsOf(definition: object, launch: Partial<Launch> = {}): string[] {
  return qemuArguments({
    definition: QemuDefinitionSchema.parse({ name: 'web', kind: 'qemu', memory: '64MiB', ...definition }),
    accel: 'tcg',
    ramFiles: ['/dev/shm/web.ram', '/dev/shm/web.1.ram'],
    qmpSocket: '/run/web/qmp.sock',
    consoleSocket: '/run/web/console.sock',
    consoleLog: '/run/web/console.log',
    blockDevices: new Set(),
    sandbox: false,
    incoming: false,
    ...launch,
  });
}

/** The values of an option, in order. */
function valuesOf(parameters: readonly string[], option: string): string[] {
  return parameters.flatMap((text, index) => (text === option ? [parameters[index + 1]!] : []));
}

void test('the smallest guest', (t) => {
  t.same(argumentsOf({}), [
    ...['-name', 'guest=web'],
    ...['-machine', 'type=q35,memory-backend=ram0,suppress-vmdesc=on'],
    ...['-m', 'size=67108864B'],
    ...['-object', 'memory-backend-file,id=ram0,size=67108864,mem-path=/dev/shm/web.ram,share=on'],
    ...['-accel', 'tcg'],
    ...['-smp', '1'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'none', '-no-shutdown', '-S'],
    ...['-chardev', 'socket,id=qmp,path=/run/web/qmp.sock,server=on,wait=on'],
    ...['-mon', 'chardev=qmp,mode=control'],
    '-chardev',
    'socket,id=console,path=/run/web/console.sock,server=on,wait=off,logfile=/run/web/console.log,logappend=on',
    ...['-serial', 'chardev:console'],
  ]);
  t.end();
});

void test('a guest with everything', (t) => {
  const parameters = argumentsOf(
    {
      memoryObjects: [{ size: '32MiB' }, { size: '32MiB', hugepages: '2MiB' }],
      cpus: 2,
      machine: 'pc-q35-7.2',
      cpu: 'qemu64,+avx',
      boot: { kernel: '/boot/vmlinuz', initrd: '/boot/initrd', append: 'console=ttyS0, quiet' },
      disks: [
        { file: '/srv/a.raw', cache: 'none' },
        { file: '/dev/vg/b', interface: 'scsi', cache: 'writethrough', serial: 'B-1' },
        { file: '/srv/c.qcow2', format: 'qcow2', interface: 'ide', cache: 'unsafe', readonly: true },
      ],
      nics: [{ tap: 'tap0', mac: '52:54:00:00:00:01' }],
      arguments: ['-device', 'virtio-rng-pci'],
    },
    { accel: 'kvm', blockDevices: new Set(['/dev/vg/b']), incoming: true },
  );
  t.same(parameters, [
    ...['-name', 'guest=web'],
    ...['-machine', 'type=pc-q35-7.2,suppress-vmdesc=on'],
    ...['-m', 'size=67108864B'],
    ...['-object', 'memory-backend-file,id=ram0,size=33554432,mem-path=/dev/shm/web.ram,share=on'],
    ...['-object', 'memory-backend-file,id=ram1,size=33554432,mem-path=/dev/shm/web.1.ram,share=on'],
    ...['-numa', 'node,nodeid=0,memdev=ram0', '-numa', 'node,nodeid=1,memdev=ram1'],
    ...['-accel', 'kvm', '-cpu', 'qemu64,+avx', '-smp', '2'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'none', '-no-shutdown', '-S'],
    ...['-chardev', 'socket,id=qmp,path=/run/web/qmp.sock,server=on,wait=on'],
    ...['-mon', 'chardev=qmp,mode=control'],
    '-chardev',
    'socket,id=console,path=/run/web/console.sock,server=on,wait=off,logfile=/run/web/console.log,logappend=on',
    ...['-serial', 'chardev:console'],
    ...['-kernel', '/boot/vmlinuz', '-initrd', '/boot/initrd', '-append', 'console=ttyS0, quiet'],
    ...['-device', 'virtio-scsi-pci,id=scsi'],
    '-blockdev',
    '{"node-name":"disk0","driver":"raw","read-only":false,"file":{"driver":"file","filename":"/srv/a.raw",' +
      '"read-only":false,"cache":{"direct":true,"no-flush":false}}}',
    ...['-device', 'virtio-blk-pci,id=disk0-device,drive=disk0,write-cache=on'],
    '-blockdev',
    '{"node-name":"disk1","driver":"raw","read-only":false,"file":{"driver":"host_device","filename":"/dev/vg/b",' +
      '"read-only":false,"cache":{"direct":false,"no-flush":false}}}',
    ...['-device', 'scsi-hd,bus=scsi.0,id=disk1-device,drive=disk1,write-cache=off,serial=B-1'],
    '-blockdev',
    '{"node-name":"disk2","driver":"qcow2","read-only":true,"file":{"driver":"file","filename":"/srv/c.qcow2",' +
      '"read-only":true,"cache":{"direct":false,"no-flush":true}}}',
    ...['-device', 'ide-hd,id=disk2-device,drive=disk2,write-cache=on'],
    ...['-netdev', 'tap,id=nic0,ifname=tap0,script=no,downscript=no'],
    ...['-device', 'virtio-net-pci,id=nic0-device,netdev=nic0,mac=52:54:00:00:00:01'],
    ...['-incoming', 'defer'],
    ...['-device', 'virtio-rng-pci'],
  ]);
  t.end();
});

void test('system calls that no guest needs are denied where that is asked for', (t) => {
  t.same(valuesOf(argumentsOf({}, { sandbox: true }), '-sandbox'), [
    'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
  ]);
  t.end();
});

void test('no value becomes an option', (t) => {
  const parameters = argumentsOf(
    {
      machine: 'q35,kernel=shadow',
      boot: { kernel: '/k,share=off', append: '-monitor stdio' },
      disks: [{ file: '/a","read-only":true,"x":"' }],
    },
    { ramFiles: ['/dev/shm,share=off/ram'], consoleLog: '/run/a,b/console.log' },
  );
  t.same(valuesOf(parameters, '-machine'), [
    'type=q35,,kernel=shadow,memory-backend=ram0,suppress-vmdesc=on',
  ]);
  t.match(valuesOf(parameters, '-object')[0], ',mem-path=/dev/shm,,share=off/ram,share=on');
  t.match(valuesOf(parameters, '-chardev')[1], ',logfile=/run/a,,b/console.log,logappend=on');
  for (const model of ['e1000,romfile=shadow', 'driver=vfio-pci']) {
    const nic = { tap: 'tap0', mac: '52:54:00:00:00:01', model };
    t.throws(() => argumentsOf({ nics: [nic] }), /must be a device that QEMU knows/);
  }
  const blockdev = JSON.parse(valuesOf(parameters, '-blockdev')[0]!) as { file: { filename: string } };
  t.equal(blockdev.file.filename, '/a","read-only":true,"x":"', 'JSON quotes it');
  t.same(valuesOf(parameters, '-append'), ['-monitor stdio'], 'the text of an option of its own');
  t.end();
});

void test('the two ends of a migration differ in what waits for it alone', (t) => {
  const definition = { disks: [{ file: '/srv/a.raw' }], nics: [{ tap: 'tap0', mac: '52:54:00:00:00:01' }] };
  const source = argumentsOf(definition);
  const target = argumentsOf(definition, { incoming: true });
  t.same(target.slice(-2), ['-incoming', 'defer']);
  t.same(target.slice(0, -2), source);
  t.end();
});

void test('without a serial port there is no console', (t) => {
  const parameters = argumentsOf({ serial: false });
  t.same(valuesOf(parameters, '-serial'), []);
  t.same(valuesOf(parameters, '-chardev').length, 1, 'but for QMP');
  t.end();
});
