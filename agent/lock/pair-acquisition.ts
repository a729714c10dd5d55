/**
 * How the coordinator of one migration takes the locks of its two nodes, as a pure state machine. pair-lock.ts
 * explains the protocol; this is its table.
 */
export type Side = 'lower' | 'higher';

export type PairState =
  /** No connection to the remote node: neither node is held, watched or tried. */
  | {
      readonly state: 'disconnected';
      readonly remote: Side;
      readonly queued: boolean;
      readonly kept: boolean;
    }
  /** Asked `side` whether it is free. `holding`: the other side is ours tentatively. */
  | {
      readonly state: 'trying';
      readonly remote: Side;
      readonly side: Side;
      readonly holding: boolean;
      readonly kept: boolean;
    }
  /** Waits for an offer of `side`; holds nothing. */
  | { readonly state: 'watching'; readonly remote: Side; readonly side: Side; readonly kept: boolean }
  | { readonly state: 'held'; readonly remote: Side }
  | { readonly state: 'ended' };

export type PairEvent =
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected' }
  | { readonly type: 'granted' | 'busy' | 'offer' | 'kept'; readonly side: Side }
  /** Cancelled while waiting, released after, or failed: out of both queues. */
  | { readonly type: 'end' };

export type PairEffect =
  | {
      readonly type: 'request' | 'try' | 'pass' | 'confirm' | 'keep' | 'release';
      readonly side: Side;
    }
  /** Both are ours: the migration may start. */
  | { readonly type: 'held' }
  /** A node said what its place in the conversation does not allow; all was released. */
  | { readonly type: 'violation'; readonly side: Side; readonly message: string };

export interface PairStep {
  readonly state: PairState;
  readonly effects: readonly PairEffect[];
}

export function otherSide(side: Side): Side {
  return side === 'lower' ? 'higher' : 'lower';
}

export function newPair(remote: Side): PairState {
  return { state: 'disconnected', remote, queued: false, kept: false };
}

function releaseBoth(state: PairState): PairEffect[] {
  if (state.state === 'ended' || (state.state === 'disconnected' && !state.queued)) return [];
  return [
    { type: 'release', side: 'lower' },
    { type: 'release', side: 'higher' },
  ];
}

/** The next state and what is to be done. Answers that cross with the end of the migration are ignored. */
export function transition(state: PairState, event: PairEvent): PairStep {
  if (state.state === 'ended') return { state, effects: [] };
  switch (event.type) {
    case 'end':
      return { state: { state: 'ended' }, effects: releaseBoth(state) };
    case 'connected': {
      if (state.state !== 'disconnected') return { state, effects: [] };
      const { remote, kept } = state;
      const effects: PairEffect[] = [];
      if (!state.queued) effects.push({ type: 'request', side: otherSide(remote) });
      effects.push({ type: 'request', side: remote });
      if (kept) effects.push({ type: 'keep', side: remote });
      effects.push({ type: 'try', side: 'lower' });
      return { state: { state: 'trying', remote, side: 'lower', holding: false, kept }, effects };
    }
    case 'disconnected':
      // Once held, the migration itself notices, and ends.
      if (state.state === 'disconnected' || state.state === 'held') return { state, effects: [] };
      // The remote node frees what was tentatively ours there; the local one must not wait for us either.
      return {
        state: { state: 'disconnected', remote: state.remote, queued: true, kept: state.kept },
        effects: [{ type: 'pass', side: otherSide(state.remote) }],
      };
    case 'kept':
      return kept(state, event.side);
    case 'granted':
      if (state.state !== 'trying' || state.side !== event.side) break;
      if (!state.holding) return tryOther(state, event.side);
      return {
        state: { state: 'held', remote: state.remote },
        effects: [{ type: 'confirm', side: 'lower' }, { type: 'confirm', side: 'higher' }, { type: 'held' }],
      };
    case 'offer':
      if (state.state !== 'watching' || state.side !== event.side) break;
      return tryOther(state, event.side);
    case 'busy':
      if (state.state !== 'trying' || state.side !== event.side) break;
      return {
        state: { state: 'watching', remote: state.remote, side: state.side, kept: state.kept },
        effects: state.holding ? [{ type: 'pass', side: otherSide(state.side) }] : [],
      };
  }
  const where = 'side' in state ? `${state.state} the ${state.side} node` : state.state;
  return {
    state: { state: 'ended' },
    effects: [
      ...releaseBoth(state),
      {
        type: 'violation',
        side: event.side,
        message: `sent lock-${event.type} to a migration that is ${where}`,
      },
    ],
  };
}

function tryOther(state: Extract<PairState, { state: 'trying' | 'watching' }>, has: Side): PairStep {
  const side = otherSide(has);
  return {
    state: { state: 'trying', remote: state.remote, side, holding: true, kept: state.kept },
    effects: [{ type: 'try', side }],
  };
}

/** Overtaken often enough at one node: both are kept, or the other could still be taken by later ones for ever. */
function kept(state: Exclude<PairState, { state: 'ended' }>, side: Side): PairStep {
  if (state.state === 'held' || state.kept) return { state, effects: [] };
  const other = otherSide(side);
  const reachable = state.state !== 'disconnected' || other !== state.remote;
  return { state: { ...state, kept: true }, effects: reachable ? [{ type: 'keep', side: other }] : [] };
}
