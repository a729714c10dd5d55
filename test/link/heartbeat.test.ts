import t from 'tap';
import { startHeartbeat } from '../../agent/link/heartbeat.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';

function subject() {
  return {
    pings: 0,
    bytes: 0,
    isDeaf: false,
    silentFor: 0,
    ping() {
      this.pings += 1;
    },
    bytesHeard() {
      return this.bytes;
    },
    deaf() {
      return this.isDeaf;
    },
    silent(ms: number) {
      this.silentFor = ms;
    },
  };
}

void t.test('silence is told once, news start it anew', async (t) => {
  const timers = new VirtualTimers();
  const peer = subject();
  startHeartbeat(peer, timers, { intervalMs: 1000, timeoutMs: 10_000 });
  await timers.advance(9500);
  t.equal(peer.pings, 9);
  peer.bytes += 1;
  await timers.advance(10_000);
  t.equal(peer.silentFor, 0);
  await timers.advance(1000);
  t.equal(peer.silentFor, 10_000);
  t.equal(timers.pending, 0, 'nothing goes on afterwards');
});

void t.test('who does not read does not blame the peer', async (t) => {
  const timers = new VirtualTimers();
  const peer = subject();
  peer.isDeaf = true;
  const stop = startHeartbeat(peer, timers);
  await timers.advance(60_000);
  t.equal(peer.silentFor, 0);
  peer.isDeaf = false;
  await timers.advance(9000);
  t.equal(peer.silentFor, 0);
  stop();
  t.equal(timers.pending, 0);
});
