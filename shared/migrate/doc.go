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
//
// Where to read on, by file:
//
//   - One wake-up: run.go (claim, leases, verdict), sync.go (the main loop), window.go (intent, writes,
//     ledger, checkpoint), breaks.go (what breaks the connection to the target), settle.go, again.go and twins.go
//     (what is in doubt is looked up).
//   - The end: verify.go (in steps), compare.go (with one folder of the target), seek.go (what users have moved),
//     report.go.
//   - Reading ahead over several connections: reader.go, hand.go, group.go and cut.go (folders are listed
//     and cut into windows), portion.go (windows are read), spool.go, budget.go, illness.go.
//   - What is stored: checkpoint.go, cursor.go, summary.go, ledger.go, order.go, wakeup.go, endpoint.go
//     (ENDPOINT.md is its manual).
//   - Folders: folders.go, placement.go (where each goes), folderrules.go, renamed.go, anew.go (UIDs that
//     mean something else now), anchors.go (messages by which a folder is known), freed.go (UIDs that others
//     may have now), refused.go, samefolder.go.
//   - Who is next: planner.go, turns.go, restore.go (what was lost), endpoints.go, gate.go, crowded.go, servercap.go and
//     loans.go (connections), brake.go (sign-ins).
//   - Before anything moves: preflight.go, look.go, looklist.go, looksample.go, looksizes.go,
//     looktally.go, spoiltdates.go.
package migrate
