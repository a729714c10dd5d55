/** Exit codes of the command line, a contract with scripts. */
export const EXIT = { done: 0, failed: 1, usage: 2, refused: 3, cancelled: 4, unknown: 5 } as const;
