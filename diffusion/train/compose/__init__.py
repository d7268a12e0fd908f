"""New pictures from the drawings: other colours, two together, several, smaller.

The drawings alone teach hardly any composition ("purple apple", "a cat next to a pizza"); pictures
put together from them do, and stay under the drawings' licences. Promises: pure functions of
pixels, rows and a numpy generator; a caption that is true of its picture; held-out combinations
decided by words alone. Never: torch, a file read except the committed list of names, or a
combination for training that the evaluation asks for.
"""
