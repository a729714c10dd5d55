/**
 * An ordered, reliable, message-oriented connection to the peer; over a WebSocket in an agent, in memory in tests.
 * The link (framing, barriers, control messages) is written against this alone.
 */
export interface Connection {
  /**
   * Queues one message. Resolves when the bytes have left this process (or are at the other end, in memory):
   * the buffer must not be reused before. Rejects with MigrationError link-lost if the connection ends first.
   * Callers bound what is in flight by awaiting; nothing is copied.
   */
  send(data: Uint8Array): Promise<void>;
  /** Sets the one receiver. `data` is valid during the call only. Messages before it is set are kept (bounded). */
  onMessage(listener: (data: Uint8Array) => void): void;
  /** Calls `listener` once when the connection has ended, for whatever reason, also when that was before. */
  onClose(listener: (end: ConnectionEnd) => void): void;
  /** Ends the connection with a documented close code. Harmless when repeated. */
  close(code: number, reason: string): void;
  /** Stops (true) or continues reading from the peer, so that a slow receiver is felt by the sender. */
  setReadPaused(paused: boolean): void;
  /**
   * Gives the socket away: a descriptor of it that whoever gets it closes. To be called with nothing under way but what was
   * sent before this object was made. What `take` returns is the connection from then on; this one ends with it, and ends it.
   * Null, with nothing changed, where there is no descriptor to be had; absent likewise.
   */
  passOn?(take: (fd: number) => Connection): Promise<Connection | null>;
}

export interface ConnectionEnd {
  /** Close code: the peer's, ours, or 1006 where the connection broke without one. */
  readonly code: number;
  readonly reason: string;
  /** True if this side closed it. */
  readonly local: boolean;
}
