package sample

var correspondents = []string{
	`Jana Novák <jana.novak@example.net>`,
	`"Weber, Thomas" <t.weber@example.com>`,
	`=?utf-8?Q?J=C3=BCrgen_M=C3=BCller?= <juergen.mueller@example.org>`,
	`=?iso-2022-jp?B?GyRCOzNFREJATzobKEI=?= <yamada@example.jp.example.com>`,
	`accounts@example.net`,
	`"Go Nuts" <list@lists.example.net>`,
	`=?koi8-r?B?6dfBziDwxdTSz9c=?= <ivan@example.org>`,
}

var subjects = []string{
	"Minutes of Monday's meeting",
	"Invoice 2019-0412",
	"Your order has been shipped",
	"Lunch on Thursday?",
	"Draft of the contract, second round",
	"Server maintenance this weekend",
	"Holiday plan for the team",
	"Question about the delivery to Hamburg",
	"Photos of the summer party",
	"Reminder: please approve the travel expenses",
	"[Go Nuts] Digest, volume 12, issue 7",
	"Notes on the handover",
}

var sentences = []string{
	"Thank you for your message of last week.",
	"I have attached the figures that we spoke about on the telephone.",
	"Could you have a look at the second page before Friday?",
	"The delivery arrived this morning and everything was there.",
	"We should meet once more before the offer goes out.",
	"Please let me know if Tuesday at ten suits you.",
	"The old server will be switched off at the end of the month.",
	"Nobody has answered yet, so I am writing to you directly.",
	"The numbers for the third quarter look better than expected.",
	"I am out of the office until Monday and read my mail rarely.",
	"From now on the invoices go to the new address.",
	"> On Monday you wrote that the contract is ready.",
	"> Is there anything left to do on our side?",
	"As agreed, the work begins on the first of the month.",
	"I have copied the people in purchasing, who know the details.",
	"Kind regards",
}
