// Package migrate is the domain: what a mailbox, a folder and a message are, where a mailbox stands
// (checkpoint), what became of each source message (ledger), who is woken next (planner) and how one
// mailbox advances for one budget (run). It knows no server, no cloud and no wire format: everything
// outside is reached through Source, Target, Directory, Store and Waker, and it imports only the
// standard library.
//
// Five rules lose mail when broken:
//
//  1. The cursor moves only after the target has the whole message and says so.
//  2. End of file is not success: the octets of the literal are counted.
//  3. An unknown outcome is looked up at the target before anything is written again.
//  4. What was requested and did not come is asked for again, then reported. Never dropped.
//  5. Nothing is held in memory without a bound.
package migrate
