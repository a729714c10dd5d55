/** Another node and its agent: where guests of this one go on. */
export interface NodeAddress {
  node: string;
  url: string;
}
