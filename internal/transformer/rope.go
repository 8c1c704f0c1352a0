package transformer

// Unrotate turns x, the gradient of some function with respect to the rotated query or key
// of one head at a position that d has run, into the gradient with respect to the query or
// key before rotation in the given block.
func (d *Decoder) Unrotate(block int, x []float32, position int) {
	d.blocks[block].rope.Unrotate(x, position)
}
