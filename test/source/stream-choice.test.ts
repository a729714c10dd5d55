import t from 'tap';
import { StreamChoice, streamsToOpen, TRIAL_BYTES, WARM_UP_BYTES } from '../../agent/source/stream-choice.js';

/** Sends `bytes` at the rate (bytes/ms) that the number of streams has at that time; returns the numbers used, in order. */
function send(
  choice: StreamChoice,
  bytes: number,
  rate: (streams: number, trial: number) => number,
): number[] {
  const used = [choice.streams];
  let now = 0;
  let trial = 0;
  for (let sent = 0; sent <= bytes; sent += 2 ** 20) {
    choice.observe(now, sent);
    if (choice.streams !== used.at(-1)) {
      used.push(choice.streams);
      trial += 1;
    }
    now += 2 ** 20 / rate(choice.streams, trial);
  }
  return used;
}

const MUCH = WARM_UP_BYTES + 10 * TRIAL_BYTES;

void t.test('where the link limits, one stream stays', (t) => {
  const choice = new StreamChoice('auto', 4);
  t.same(
    send(choice, MUCH, () => 1e5),
    [1, 2, 1],
  );
  choice.settle();
  const report = choice.report('tcp');
  t.match(report, {
    transport: 'tcp',
    open: 4,
    used: 1,
    reason: 'measured in round 0: 100.0 MB/s with 1, 100.0 MB/s with 2',
  });
  t.same(
    report.tried.map(({ streams }) => streams),
    [1, 2],
  );
  t.end();
});

void t.test('where a processor limits, as many as there are', (t) => {
  const choice = new StreamChoice('auto', 4);
  t.same(
    send(choice, MUCH, (streams) => 1e5 * streams),
    [1, 2, 1, 4, 2, 4],
  );
  t.equal(choice.streams, 4);
  t.end();
});

void t.test('an end that is in between', (t) => {
  const choice = new StreamChoice('auto', 8);
  send(choice, MUCH, (streams) => 1e5 * Math.min(streams, 2));
  t.equal(choice.streams, 2);
  const three = new StreamChoice('auto', 3);
  send(three, MUCH, (streams) => 1e5 * streams);
  t.equal(three.streams, 3, 'not a power of two');
  t.end();
});

void t.test('a machine that becomes warm has not gained by the streams', (t) => {
  const choice = new StreamChoice('auto', 2);
  t.same(
    send(choice, MUCH, (_streams, trial) => (trial === 0 ? 1e5 : 2e5)),
    [1, 2, 1],
  );
  t.end();
});

void t.test('a gain that is no more than noise', (t) => {
  const choice = new StreamChoice('auto', 2);
  send(choice, MUCH, (streams) => (streams === 2 ? 1.09e5 : 1e5));
  t.equal(choice.streams, 1);
  t.end();
});

void t.test('a round that ends before it is known keeps what is', (t) => {
  const short = new StreamChoice('auto', 4);
  send(short, WARM_UP_BYTES, () => 1e5);
  short.settle();
  t.match(short.report('tcp'), { used: 1, tried: [], reason: /too little/ });
  const unconfirmed = new StreamChoice('auto', 4);
  t.same(
    send(unconfirmed, WARM_UP_BYTES + 2 * TRIAL_BYTES + 2 ** 21, (streams) => 1e5 * streams),
    [1, 2, 1],
  );
  unconfirmed.settle();
  t.equal(unconfirmed.streams, 1);
  unconfirmed.observe(1e9, 1e12);
  t.equal(unconfirmed.streams, 1, 'it is settled');
  t.end();
});

void t.test('a number that was asked for is used', (t) => {
  const choice = new StreamChoice(3, 3);
  t.same(
    send(choice, MUCH, () => 1e5),
    [3],
  );
  t.match(choice.report('websocket'), { transport: 'websocket', open: 3, used: 3, reason: 'as asked for' });
  t.match(new StreamChoice('auto', 1).report('tcp'), { used: 1, reason: 'one was opened' });
  t.end();
});

void t.test('as many are opened as may pay', (t) => {
  t.same(
    [1, 2, 4, 64].map((processors) => streamsToOpen('auto', processors)),
    [1, 2, 4, 4],
  );
  t.equal(streamsToOpen(16, 2), 16);
  t.end();
});
