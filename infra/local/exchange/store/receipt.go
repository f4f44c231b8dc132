package store

// receiptHeader asks for a read receipt (RFC 8098, section 2.1).
const receiptHeader = "Disposition-Notification-To"

// receiptRequested is PidTagReadReceiptRequested (MS-OXOMSG 2.2.1.29); as
// "false" on a message it takes the request back.
const receiptRequested = "Boolean 0x29"

// sendReceipt records the read receipt that Exchange sends when a message that
// asks for one becomes read, also when it is appended as read: migrations were
// seen to resend them all (imapsync, FAQ.Office365.txt, "read receipts are all
// resent again"; Set-CASMailbox -ImapSuppressReadReceipt). m.mu is held.
func (m *Mailbox) sendReceipt(it *Item) error {
	if it.ReceiptTo == "" || it.Flags&Seen == 0 || it.Flags&(Draft|MDNSent) != 0 || it.Properties[receiptRequested] == "false" {
		return nil
	}
	if err := m.store.depart(m, m.user.UserPrincipalName, ReadReceipt, []string{it.ReceiptTo}); err != nil {
		return err
	}
	it.ReceiptTo = ""
	return nil
}
