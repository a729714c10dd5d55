import t from 'tap';
import { CountByParty, remoteParty } from '../../agent/admission/remote-address.js';

t.equal(remoteParty('10.0.0.1'), '10.0.0.1');
t.equal(remoteParty('::ffff:10.0.0.1'), '10.0.0.1', 'the same host by a socket for both');
t.equal(remoteParty('2001:db8:0:7:1::2'), '2001:db8:0:7::/64');
t.equal(
  remoteParty('2001:db8:0:7:ffff:1:2:3'),
  '2001:db8:0:7::/64',
  'one network, whatever its hosts call themselves',
);
t.equal(remoteParty('fe80::1%eth0'), 'fe80:0:0:0::/64');
t.equal(remoteParty('::1'), '0:0:0:0::/64');
t.equal(remoteParty(undefined), null, 'a unix socket has no address');

const counts = new CountByParty();
const first = counts.add('10.0.0.1');
counts.add('10.0.0.1');
counts.add(null);
t.equal(counts.of('10.0.0.1'), 2);
first();
first();
t.equal(counts.of('10.0.0.1'), 1, 'once, however often');
t.equal(counts.of('10.0.0.2'), 0);
t.equal(counts.of(null), 0);
