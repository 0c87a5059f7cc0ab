"""TFRecord files of Example, SequenceExample, ExampleListWithContext and Example-in-Example, without TensorFlow.

`framing` reads and writes records, `wire` messages one by one, `spans`, `lists` and `frames` many messages at once;
`features` makes columns of values, `reading` tables of files, and `writing` records of tables.
"""
